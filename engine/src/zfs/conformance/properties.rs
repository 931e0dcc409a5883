//! Properties that travel with a stream.

use super::ground::{Ground, new, next, since};
use super::{Claim, Outcome, claims, same};
use crate::zfs::{Property, PropertyValue, ReceiveRequest, ZfsErrorKind};

pub(super) const CLAIMS: &[Claim] = claims![
    received_properties_are_listed,
    refused_properties_are_told_and_the_data_is_there,
];

fn text(name: &str, value: &str) -> Property {
    Property {
        name: name.to_owned(),
        value: PropertyValue::Text(value.to_owned()),
    }
}

fn number(name: &str, value: u64) -> Property {
    Property {
        name: name.to_owned(),
        value: PropertyValue::Number(value),
    }
}

fn received_properties_are_listed(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let target = crate::name::SnapshotName {
        dataset: ground.there("beside")?,
        short: pair.first.short.clone(),
    };
    // lz4, and a user property: number and text.
    let properties = vec![number("compression", 15), text("org.example:owner", "me")];
    let create = ReceiveRequest {
        properties: properties.clone(),
        ..new(&target)
    };
    let refused = ground.feed(&create, &ground.stream(&super::ground::full(&pair.first))?)??;
    same!(refused, [], "refused");
    same!(
        ground.look(&target.dataset)?.properties,
        properties,
        "listed"
    );
    let changed = vec![number("compression", 15), text("org.example:owner", "you")];
    let update = ReceiveRequest {
        properties: changed.clone(),
        ..next(&crate::name::SnapshotName {
            short: pair.second.short.clone(),
            ..target.clone()
        })
    };
    let bytes = ground.stream(&since(&pair.first, &pair.second))?;
    same!(ground.feed(&update, &bytes)??, [], "refused");
    same!(ground.look(&target.dataset)?.properties, changed, "listed");
    Ok(())
}

fn refused_properties_are_told_and_the_data_is_there(ground: &Ground<'_>) -> Outcome {
    let pair = ground.pair()?;
    let request = ReceiveRequest {
        properties: vec![
            text("readonly", "on"),
            text("nonsense", "x"),
            text("org.example:owner", "me"),
        ],
        ..next(&pair.wanted)
    };
    let bytes = ground.stream(&since(&pair.first, &pair.second))?;
    let mut refused: Vec<_> = ground
        .feed(&request, &bytes)??
        .into_iter()
        .map(|refusal| (refusal.name, refusal.kind))
        .collect();
    refused.sort_by(|(a, _), (b, _)| a.cmp(b));
    let told: Vec<_> = refused
        .iter()
        .map(|(name, kind)| (name.as_str(), *kind))
        .collect();
    same!(
        told,
        [
            ("nonsense", ZfsErrorKind::Invalid),
            ("readonly", ZfsErrorKind::Invalid)
        ],
        "refused"
    );
    ground.ensure_content(&pair.wanted, 2)?;
    same!(
        ground.look(&pair.target)?.properties,
        [text("org.example:owner", "me")],
        "listed"
    );
    Ok(())
}
