//! `zferry holds list`.

use engine::hold::Held;
use engine::sync::config::duration_text;
use engine::sync::moment::UtcSeconds;
use engine::zfs::{Scope, kernel};
use serde_json::{Value, json};

use super::{reach, shown, value};
use crate::args::holds::List;
use crate::command::{Context, blocking};
use crate::endpoint::Endpoint;
use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;

/// Runs the command.
pub async fn run(context: &Context, args: List) -> Result<Outcome, Failure> {
    let places = match args.dataset {
        places if places.is_empty() => everywhere(context).await?,
        places => places,
    };
    let of_places: Vec<&Endpoint> = places.iter().collect();
    let peers = reach(context, &args.transfer, &of_places).await?;
    let mut human = String::new();
    let mut values = Vec::new();
    for (place, mut peer) in places.iter().zip(peers) {
        let now = peer.about.clock.unwrap_or_else(environment::now);
        let held = peer.holds(&place.dataset, Scope::Recursive).await?;
        for held in &held {
            if let Some((line, value)) = told(place, held, now) {
                human += &line;
                values.push(value);
            }
        }
    }
    if values.is_empty() {
        "zferry holds nothing there\n".clone_into(&mut human);
    }
    Ok(Outcome {
        exit: Exit::Done,
        human,
        json: json!({ "holds": values }),
        failures: Vec::new(),
    })
}

/// A hold for people and for programs, if it is one of ours. `now` is what the
/// clock of its machine shows.
fn told(place: &Endpoint, held: &Held, now: UtcSeconds) -> Option<(String, Value)> {
    let reason = held.our_tag()?.reason();
    let age = now.since(UtcSeconds(held.since_seconds));
    let text = age.map_or_else(|| "in the future".to_owned(), duration_text);
    let name = shown(place, held);
    let line = format!(
        "{name}  {text}  {reason}\n    guid {}  tag {}\n",
        held.guid, held.tag
    );
    let mut value = value(place, held, &reason);
    value["age_seconds"] = json!(age.map(|age| age.as_secs()));
    Some((line, value))
}

/// The pools that the command line names as images, or all of the kernel.
async fn everywhere(context: &Context) -> Result<Vec<Endpoint>, Failure> {
    let images = context.images()?;
    let pools = if images.is_empty() {
        let pools = blocking(kernel::pools).await;
        pools.map_err(|error| Failure::of(error.family(), &error))?
    } else {
        images.iter().map(|image| image.pool().clone()).collect()
    };
    let here = |dataset| Endpoint {
        host: None,
        dataset,
    };
    Ok(pools.into_iter().map(here).collect())
}

#[cfg(test)]
mod tests {
    use engine::name::{Guid, SnapshotName};

    use super::*;

    #[test]
    fn a_hold_is_told_with_its_reason_and_age_and_one_of_others_is_not() {
        let held = |tag: &str| Held {
            snapshot: SnapshotName::parse("tank/a@sent").unwrap(),
            guid: Guid(u64::MAX),
            tag: tag.to_owned(),
            since_seconds: 1000,
        };
        let place: Endpoint = "beta:tank".parse().unwrap();
        let ours = held("zferry:base:sync:web:sync.1");
        let (line, value) = told(&place, &ours, UtcSeconds(1090)).unwrap();
        assert_eq!(
            line,
            "beta:tank/a@sent  1m30s  base of web sync#1\n    \
             guid 18446744073709551615  tag zferry:base:sync:web:sync.1\n"
        );
        assert_eq!(value["guid"], json!("18446744073709551615"));
        assert_eq!(
            (&value["service"], &value["rid"]),
            (&json!("web"), &json!("sync#1"))
        );
        assert_eq!(value["age_seconds"], json!(90));
        for tag in ["keep", "zferry", "zferry-1-2", "zferry:\u{1b}[2J"] {
            assert_eq!(told(&place, &held(tag), UtcSeconds(1090)), None, "{tag}");
        }
    }
}
