//! `zferry holds release`.

use engine::error::Family;
use engine::hold::{Held, HoldTag};
use engine::peer::Peer;
use engine::zfs::Scope;
use serde_json::{Value, json};

use super::{reach, value};
use crate::args::holds::{Release, SnapshotEndpoint};
use crate::command::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Outcome;

/// Runs the command. Nothing is released before all snapshots were looked at.
pub async fn run(context: &Context, args: Release) -> Result<Outcome, Failure> {
    let places: Vec<_> = args.snapshot.iter().map(|one| &one.place).collect();
    let peers = reach(context, &args.transfer, &places).await?;
    let mut chosen = Vec::new();
    for (snapshot, mut peer) in args.snapshot.iter().zip(peers) {
        let mut held = peer.holds(&snapshot.place.dataset, Scope::One).await?;
        held.retain(|held| held.snapshot == snapshot.name());
        let wanted = choose(snapshot, &held, &args.tag)?;
        chosen.push((snapshot, peer, wanted));
    }
    let mut human = String::new();
    let mut values: Vec<Value> = Vec::new();
    for (snapshot, mut peer, wanted) in chosen {
        for (held, tag) in wanted {
            release(&mut peer, &held, &tag).await?;
            human += &format!("released {tag} on {snapshot}: {}\n", tag.reason());
            values.push(value(&snapshot.place, &held, &tag.reason()));
        }
    }
    Ok(Outcome {
        exit: Exit::Done,
        human,
        json: json!({ "released": values }),
        failures: Vec::new(),
    })
}

/// By name and guid: a snapshot that took the name meanwhile keeps its holds.
async fn release(peer: &mut Peer, held: &Held, tag: &HoldTag) -> Result<(), Failure> {
    let snapshot = (held.snapshot.clone(), held.guid);
    Ok(peer.release_kept(vec![snapshot], tag.clone()).await?)
}

/// Which of the holds on a snapshot are to go.
fn choose(
    snapshot: &SnapshotEndpoint,
    held: &[Held],
    tags: &[HoldTag],
) -> Result<Vec<(Held, HoldTag)>, Failure> {
    let ours = held
        .iter()
        .filter_map(|held| Some((held.clone(), held.our_tag()?)));
    let ours: Vec<(Held, HoldTag)> = ours.collect();
    if let Some(missing) = tags
        .iter()
        .find(|tag| !ours.iter().any(|(_, ours)| ours == *tag))
    {
        let message = format!("{snapshot} has no hold {missing}");
        return Err(Failure::new(Family::Failed, message).remedy(format!(
            "see what there is: zferry holds list {}",
            snapshot.place
        )));
    }
    let is_chosen = |tag: &HoldTag| match tags {
        [] => !tag.is_of_run(),
        tags => tags.contains(tag),
    };
    let (chosen, others): (Vec<_>, Vec<_>) = ours.into_iter().partition(|(_, tag)| is_chosen(tag));
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    if let Some((_, tag)) = others.first() {
        let message = format!("{snapshot} is needed by {}", tag.reason());
        return Err(Failure::new(Family::Transient, message)
            .remedy("wait until it has ended, which releases the hold")
            .remedy(format!(
                "or take it from the run: zferry holds release --tag {tag} {snapshot}"
            )));
    }
    let failure = Failure::new(Family::Failed, format!("{snapshot} has no hold of zferry"));
    Err(match held.first() {
        None => failure.remedy(format!(
            "see what there is: zferry holds list {}",
            snapshot.place
        )),
        Some(foreign) => failure.remedy(format!(
            "it has one of somebody else, on its machine: zfs release '{}' '{}'",
            foreign.tag.escape_debug(),
            snapshot.name()
        )),
    })
}

#[cfg(test)]
mod tests {
    use engine::name::{Guid, SnapshotName};

    use super::*;

    fn chosen(held: &[&str], tags: &[&str]) -> Result<Vec<String>, Failure> {
        let held: Vec<Held> = held
            .iter()
            .map(|tag| Held {
                snapshot: SnapshotName::parse("tank/a@sent").unwrap(),
                guid: Guid(7),
                tag: (*tag).to_owned(),
                since_seconds: 1,
            })
            .collect();
        let tags: Vec<HoldTag> = tags.iter().map(|tag| tag.parse().unwrap()).collect();
        let snapshot = "beta:tank/a@sent".parse().unwrap();
        let chosen = choose(&snapshot, &held, &tags)?;
        Ok(chosen.into_iter().map(|(_, tag)| tag.to_string()).collect())
    }

    const BASE: &str = "zferry:base:sync:web:sync.1";
    const RUN: &str = "zferry:run:42-1:alpha";

    #[test]
    fn bases_go_and_what_a_run_needs_or_others_hold_stays() {
        assert_eq!(chosen(&[BASE, RUN, "keep"], &[]).unwrap(), [BASE]);
        assert_eq!(chosen(&[BASE, RUN, "keep"], &[RUN]).unwrap(), [RUN]);
        let failure = chosen(&[RUN], &[]).unwrap_err();
        assert_eq!(failure.family, Family::Transient);
        assert!(failure.message.contains("alpha"), "{failure:?}");
        let failure = chosen(&["keep"], &[]).unwrap_err();
        assert!(
            failure.remedies[0].ends_with("zfs release 'keep' 'tank/a@sent'"),
            "{failure:?}"
        );
        assert!(chosen(&[], &[]).is_err() && chosen(&[RUN], &[BASE]).is_err());
    }
}
