//! Two trees of any shape: the plan between them loses nothing that the request
//! does not let go, and starts every stream from what both sides have.

mod claims;

use arbitrary::{Arbitrary, Result, Unstructured};

use crate::name::{CreateTxg, DatasetName, Guid, Ivset, ShortName, SnapshotName};
use crate::plan::{
    Intermediary, Loss, OnModified, OnNewer, OnPartial, OnRenamed, Taken, TreeRequest,
    plan_leftovers, plan_tree, with_arrived,
};
use crate::zfs::{
    BlockForm, Bookmark, Dataset, DatasetKind, Encryption, PartialContent, PartialReceive,
    ResumePoint, SendMode, Snapshot,
};

/// Names of snapshots, of zferry and of others: few, so that both sides meet.
const SHORTS: [&str; 8] = [
    "daily-1",
    "daily-2",
    "x",
    "zferry-1",
    "sync.1.sent",
    "sync.1.tosend",
    "sync.1.sent.old",
    "sent",
];
/// Where datasets are below the root of their tree.
const PLACES: [&str; 4] = ["", "/a", "/a/b", "/c"];
/// Most snapshots, or bookmarks, of one dataset.
const POINTS_MAX: usize = 6;

/// Plans for two trees that `data` makes up.
pub fn plan(data: &[u8]) {
    let _ = Unstructured::new(data)
        .arbitrary::<Case>()
        .map(|case| case.check());
}

struct Case {
    source: Vec<Dataset>,
    target: Vec<Dataset>,
    short: ShortName,
    arriving: ShortName,
    mode: SendMode,
    loss: Loss,
    intermediary: Intermediary,
    /// The names that runs of this kind give, if they give any.
    taken: Option<ShortName>,
}

impl Case {
    fn check(&self) {
        let target_root = DatasetName::parse("backup/t").expect("a name");
        let request = TreeRequest {
            source: &self.source,
            target: &self.target,
            target_root: &target_root,
            short: &self.short,
            mode: self.mode,
            loss: self.loss,
            intermediary: self.intermediary,
            on_renamed: OnRenamed::Refuse,
            taken: match &self.taken {
                None => Taken::Nothing,
                Some(name) if name.as_str().starts_with("zferry-") => Taken::Series("zferry-"),
                Some(name) => Taken::Named(name),
            },
        };
        let plan = plan_tree(&request).expect("short names fit");
        claims::hold(&request, &plan);
        let left = plan_leftovers(&request, Some(&self.arriving)).expect("short names fit");
        for plan in &left {
            claims::of_leftover(&request, plan);
        }
        let target = with_arrived(&self.target, &left);
        let after = plan_tree(&TreeRequest {
            target: &target,
            ..request
        });
        after.expect("short names fit");
    }
}

impl<'a> Arbitrary<'a> for Case {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            short: short(u)?,
            arriving: short(u)?,
            mode: mode(u)?,
            loss: Loss {
                on_modified: *u.choose(&[OnModified::Never, OnModified::RollBack])?,
                on_newer: *u.choose(&[OnNewer::Refuse, OnNewer::Destroy])?,
                on_partial: *u.choose(&[OnPartial::Report, OnPartial::Discard])?,
            },
            intermediary: *u.choose(&[Intermediary::Skip, Intermediary::Carry])?,
            taken: match u.arbitrary()? {
                true => Some(short(u)?),
                false => None,
            },
            source: tree(u, "tank/s")?,
            target: tree(u, "backup/t")?,
        })
    }
}

fn short(u: &mut Unstructured<'_>) -> Result<ShortName> {
    Ok(ShortName::parse(u.choose(&SHORTS)?).expect("a name"))
}

fn mode(u: &mut Unstructured<'_>) -> Result<SendMode> {
    Ok(*u.choose(&[SendMode::Plain, SendMode::Raw])?)
}

/// A guid that the other side has made up as well, perhaps.
fn guid(u: &mut Unstructured<'_>) -> Result<Guid> {
    Ok(Guid(u64::from(u.int_in_range(1..=12_u8)?)))
}

/// What a snapshot of an encrypted dataset has; few, so that they meet.
fn ivset(u: &mut Unstructured<'_>) -> Result<Option<Ivset>> {
    let number = u64::from(u.int_in_range(0..=3_u8)?);
    Ok(Some(Ivset(number)).filter(|ivset| ivset.0 != 0))
}

/// Bytes written: nothing, hardly anything, much, too much to be added up.
fn bytes(u: &mut Unstructured<'_>) -> Result<u64> {
    Ok(*u.choose(&[0, 0, 512, 8192, 8193, 1 << 40, u64::MAX])?)
}

fn tree(u: &mut Unstructured<'_>, root: &str) -> Result<Vec<Dataset>> {
    let mut tree = Vec::new();
    let places = u.int_in_range(0..=PLACES.len())?;
    for (number, place) in PLACES.iter().take(places).enumerate() {
        let name = DatasetName::parse(&format!("{root}{place}")).expect("a name");
        tree.push(dataset(u, name, number as u64)?);
    }
    Ok(tree)
}

fn dataset(u: &mut Unstructured<'_>, name: DatasetName, number: u64) -> Result<Dataset> {
    // Hardly ever the very same dataset on both sides.
    let is_same = u.ratio(1, 40)?;
    let guid = Guid(match is_same {
        true => 1000 + number,
        false if name.pool() == "tank" => 2000 + number,
        false => 3000 + number,
    });
    let encryption = match u.ratio(1, 3)? {
        true => Some(Encryption {
            root: match name.parent().filter(|_| u.ratio(1, 2).unwrap_or_default()) {
                Some(parent) => parent,
                None => name.clone(),
            },
            key_loaded: u.arbitrary()?,
        }),
        false => None,
    };
    let other = DatasetName::parse(&format!("{}/other", name.pool())).expect("a name");
    let origin = match u.ratio(1, 6)? {
        true => Some(SnapshotName::new(other, short(u)?).expect("a name")),
        false => None,
    };
    Ok(Dataset {
        kind: match u.ratio(1, 6)? {
            true => DatasetKind::Volume,
            false => DatasetKind::Filesystem,
        },
        guid,
        written_bytes: bytes(u)?,
        origin,
        encryption,
        partial: partial(u)?,
        properties: Vec::new(),
        snapshots: snapshots(u)?,
        bookmarks: bookmarks(u)?,
        name,
    })
}

/// As ZFS lists them: no name and no guid twice, each in a transaction later
/// than the one before.
fn snapshots(u: &mut Unstructured<'_>) -> Result<Vec<Snapshot>> {
    let mut all: Vec<Snapshot> = Vec::new();
    let mut createtxg = 0;
    for _ in 0..u.int_in_range(0..=POINTS_MAX)? {
        createtxg += u64::from(u.int_in_range(1..=4_u8)?);
        let snapshot = Snapshot {
            short: short(u)?,
            guid: guid(u)?,
            createtxg: CreateTxg(createtxg),
            creation_seconds: u.arbitrary()?,
            written_bytes: bytes(u)?,
            holds: u64::from(u.ratio(1, 8)?),
            clones: u64::from(u.ratio(1, 8)?),
            ivset: ivset(u)?,
        };
        let is_there = |s: &Snapshot| s.short == snapshot.short || s.guid == snapshot.guid;
        if !all.iter().any(is_there) {
            all.push(snapshot);
        }
    }
    Ok(all)
}

fn bookmarks(u: &mut Unstructured<'_>) -> Result<Vec<Bookmark>> {
    let mut all: Vec<Bookmark> = Vec::new();
    let mut createtxg = 0;
    for _ in 0..u.int_in_range(0..=POINTS_MAX)? {
        createtxg += u64::from(u.int_in_range(0..=4_u8)?);
        let bookmark = Bookmark {
            short: short(u)?,
            guid: guid(u)?,
            createtxg: CreateTxg(createtxg),
            ivset: ivset(u)?,
        };
        if !all.iter().any(|mark| mark.short == bookmark.short) {
            all.push(bookmark);
        }
    }
    Ok(all)
}

fn partial(u: &mut Unstructured<'_>) -> Result<Option<PartialReceive>> {
    if !u.ratio(1, 3)? {
        return Ok(None);
    }
    let content = match u.ratio(3, 4)? {
        true => Some(PartialContent {
            to_name: None,
            to_guid: guid(u)?,
            from_guid: match u.arbitrary()? {
                true => Some(guid(u)?),
                false => None,
            },
            mode: mode(u)?,
            resume: ResumePoint {
                object: u.arbitrary()?,
                offset_bytes: u.arbitrary()?,
                form: BlockForm::USUAL,
            },
            received_bytes: bytes(u)?,
        }),
        false => None,
    };
    Ok(Some(PartialReceive {
        token: "1-0".to_owned(),
        content,
    }))
}
