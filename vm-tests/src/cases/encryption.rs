//! Encrypted datasets on a real kernel: what zferry foresees, and that ZFS is
//! as it takes it to be.

use anyhow::{Result, ensure};

use super::replicate::{replicate, run};
use super::{Case, cases};
use crate::data::Data;
use crate::dataset::Dataset;
use crate::host::Host;
use crate::pair::Pair;
use crate::script::Output;

pub(super) const CASES: &[Case] = cases![Zferry:
    a_plain_increment_on_a_raw_copy_is_seen_before_a_raw_stream_is_sent,
    a_raw_stream_is_not_sent_onto_a_plain_copy_that_is_encrypted_here,
    a_raw_stream_is_not_sent_onto_a_copy_that_has_inherited_a_key,
    a_child_that_inherits_its_key_is_sent_raw_again_and_again_and_takes_a_new_key_along,
    a_target_that_is_a_clone_of_the_copy_takes_increments_again_when_it_is_promoted,
];

const SMALL: Data = Data {
    seed: 41,
    bytes: 300_000,
};

/// A key that both machines have in a file, of this letter.
fn key(host: &Host, letter: char) -> Result<String> {
    let file = format!("/run/zferry-key-{letter}");
    host.sh(format!("head -c 32 /dev/zero | tr '\\0' {letter} > {file}"))?;
    Ok(file)
}

fn encrypted<'a>(host: &'a Host, name: &str, letter: char) -> Result<Dataset<'a>> {
    let file = key(host, letter)?;
    host.dataset(name).create_with(&format!(
        "-o encryption=on -o keyformat=raw -o keylocation=file://{file}"
    ))
}

fn load_key(dataset: &Dataset<'_>, host: &Host, letter: char) -> Result<()> {
    let file = key(host, letter)?;
    host.sh(format!("zfs load-key -L file://{file} {}", dataset.name()))?;
    Ok(())
}

/// A snapshot with some change.
fn changed(source: &Dataset<'_>, seed: u64, snapshot: &str) -> Result<()> {
    source.fill(&Data { seed, ..SMALL })?;
    source.snapshot(snapshot)
}

fn send(pair: &Pair, source: &Dataset<'_>, target: &Dataset<'_>, words: &[&str]) -> Result<Output> {
    let remote = target.remote_name();
    let arguments = [words, &[source.name(), &remote, "--retry-for", "0"]].concat();
    run(&pair.source, &arguments)
}

fn ensure_refused(output: &Output, parts: &[&str]) -> Result<()> {
    let text = output.text() + &output.error_text();
    ensure!(
        output.code == 4 && parts.iter().all(|part| text.contains(part)),
        "exit {}, or not all of {parts:?}: {text}",
        output.code
    );
    ensure!(
        !text.contains("transfer_started"),
        "something was sent: {text}"
    );
    Ok(())
}

fn ensure_equal(source: &Dataset<'_>, target: &Dataset<'_>, snapshot: &str) -> Result<()> {
    let sent = source.contents_at(snapshot)?;
    sent.ensure_same(&target.contents_at(snapshot)?)
}

fn a_plain_increment_on_a_raw_copy_is_seen_before_a_raw_stream_is_sent(pair: &Pair) -> Result<()> {
    let source = encrypted(&pair.source, "ivset", 'k')?;
    let target = pair.target.dataset("ivset");
    let remote = target.remote_name();
    changed(&source, 1, "a")?;
    replicate(
        &pair.source,
        &["--raw", "--snapshot", "a", source.name(), &remote],
    )?;
    changed(&source, 2, "b")?;
    load_key(&target, &pair.target, 'k')?;
    let by_hand = format!("ssh target zfs receive -u {}", target.name());
    pair.source
        .sh(format!("zfs send -i @a {} | {by_hand}", source.at("b")))?;
    changed(&source, 3, "c")?;
    let before = target.guids()?;
    let refused = send(pair, &source, &target, &["--raw", "--snapshot", "c"])?;
    let way_back = format!("zfs rollback -r {}", target.at("a"));
    ensure_refused(&refused, &["ivset guid", &way_back, "--archive-target"])?;
    // As ZFS would have found.
    let zfs = pair.source.run(format!(
        "set -o pipefail; zfs send -w -i @b {} | {by_hand}",
        source.at("c")
    ))?;
    ensure!(
        zfs.code != 0 && zfs.error_text().contains("IV set guid mismatch"),
        "exit {}: {}",
        zfs.code,
        zfs.error_text()
    );
    ensure!(target.guids()? == before, "the target has changed");
    pair.target.sh(&way_back)?;
    replicate(
        &pair.source,
        &["--raw", "--snapshot", "c", source.name(), &remote],
    )?;
    ensure_equal(&source, &target, "c")
}

fn a_raw_stream_is_not_sent_onto_a_plain_copy_that_is_encrypted_here(pair: &Pair) -> Result<()> {
    let vault = encrypted(&pair.target, "plain-vault", 'v')?;
    let source = encrypted(&pair.source, "plain-vault", 'k')?;
    let target = vault.child("copy");
    changed(&source, 1, "a")?;
    let sent = send(pair, &source, &target, &["--snapshot", "a"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    ensure!(target.property("encryptionroot")? == vault.name());
    changed(&source, 2, "b")?;
    let refused = send(pair, &source, &target, &["--raw", "--snapshot", "b"])?;
    ensure_refused(&refused, &["received plain", "leave --raw out"])?;
    let zfs = pair.source.run(format!(
        "set -o pipefail; zfs send -w -i @a {} | ssh target zfs receive -u {}",
        source.at("b"),
        target.name()
    ))?;
    ensure!(zfs.code != 0, "ZFS takes it: {}", zfs.text());
    // A key of its own does not make a raw copy of it.
    let file = key(&pair.target, 'o')?;
    pair.target.sh(format!(
        "zfs change-key -o keyformat=raw -o keylocation=file://{file} {}",
        target.name()
    ))?;
    let sent = send(pair, &source, &target, &["--snapshot", "b"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    ensure_equal(&source, &target, "b")
}

fn a_raw_stream_is_not_sent_onto_a_copy_that_has_inherited_a_key(pair: &Pair) -> Result<()> {
    let vault = encrypted(&pair.target, "key-vault", 'v')?;
    let source = encrypted(&pair.source, "key-vault", 'k')?;
    let target = vault.child("copy");
    let harmed = vault.child("harmed");
    changed(&source, 1, "a")?;
    for copy in [&target, &harmed] {
        let sent = send(pair, &source, copy, &["--raw", "--snapshot", "a"])?;
        ensure!(sent.code == 0, "{}", sent.error_text());
        load_key(copy, &pair.target, 'k')?;
        pair.target
            .sh(format!("zfs change-key -i {}", copy.name()))?;
        ensure!(copy.property("encryptionroot")? == vault.name());
    }
    changed(&source, 2, "b")?;
    let refused = send(pair, &source, &target, &["--raw", "--snapshot", "b"])?;
    ensure_refused(&refused, &["is unlocked by the key of", "zfs change-key"])?;
    // What would have come of it: ZFS takes the stream, and nothing unlocks the
    // copy from then on.
    pair.source.sh(format!(
        "zfs send -w -i @a {} | ssh target zfs receive -u {}",
        source.at("b"),
        harmed.name()
    ))?;
    pair.target.sh(format!(
        "cd /; zfs unmount {0}; zfs unload-key -r {0} && zfs load-key {0}",
        vault.name()
    ))?;
    let locked = pair
        .target
        .fails(format!("zfs mount {}", harmed.name()))?
        .error_text();
    ensure!(locked.contains("Permission denied"), "{locked}");
    // As the message says: a key of its own, whichever, and on it goes.
    let file = key(&pair.target, 'o')?;
    pair.target.sh(format!(
        "zfs change-key -o keyformat=raw -o keylocation=file://{file} {}",
        target.name()
    ))?;
    let sent = send(pair, &source, &target, &["--raw", "--snapshot", "b"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    // Its own key unlocked it until then; from now on it takes the source's.
    pair.target
        .sh(format!("zfs unload-key {}", target.name()))?;
    load_key(&target, &pair.target, 'k')?;
    ensure_equal(&source, &target, "b")
}

fn a_child_that_inherits_its_key_is_sent_raw_again_and_again_and_takes_a_new_key_along(
    pair: &Pair,
) -> Result<()> {
    let parent = encrypted(&pair.source, "heir", 'k')?;
    let source = parent.child("child").create()?;
    let target = pair.target.dataset("heir");
    for (seed, snapshot) in [(1, "a"), (2, "b")] {
        changed(&source, seed, snapshot)?;
        let sent = send(pair, &source, &target, &["--raw", "--snapshot", snapshot])?;
        ensure!(sent.code == 0, "{}", sent.error_text());
    }
    ensure!(source.property("encryptionroot")? == parent.name());
    ensure!(target.property("encryptionroot")? == target.name());
    // A raw copy, although its root lies elsewhere than the source's.
    changed(&source, 3, "c")?;
    let refused = send(pair, &source, &target, &["--snapshot", "c"])?;
    ensure_refused(&refused, &["received raw", "use --raw"])?;
    let file = key(&pair.source, 'n')?;
    pair.source.sh(format!(
        "zfs change-key -o keyformat=raw -o keylocation=file://{file} {}",
        parent.name()
    ))?;
    let sent = send(pair, &source, &target, &["--raw", "--snapshot", "c"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    ensure!(
        load_key(&target, &pair.target, 'k').is_err(),
        "the former key unlocks it"
    );
    load_key(&target, &pair.target, 'n')?;
    ensure_equal(&source, &target, "c")
}

/// No matter of keys: somebody goes on with a clone in the copy's place.
fn a_target_that_is_a_clone_of_the_copy_takes_increments_again_when_it_is_promoted(
    pair: &Pair,
) -> Result<()> {
    let source = pair.source.dataset("cloned").create()?;
    let target = pair.target.dataset("cloned");
    changed(&source, 1, "a")?;
    let sent = send(pair, &source, &target, &["--snapshot", "a"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    pair.target.sh(format!(
        "zfs rename {0} {0}-former && zfs clone -o canmount=noauto {0}-former@a {0}",
        target.name()
    ))?;
    changed(&source, 2, "b")?;
    let refused = send(pair, &source, &target, &["--snapshot", "b"])?;
    let command = format!("zfs promote {}", target.name());
    ensure_refused(&refused, &["is a clone of", &command, "--archive-target"])?;
    pair.target.sh(&command)?;
    let sent = send(pair, &source, &target, &["--snapshot", "b"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    ensure_equal(&source, &target, "b")?;
    ensure!(target.property("origin")? == "-", "it is a clone still");
    let former = pair.target.dataset("cloned-former");
    ensure!(former.property("origin")? == target.at("a"));
    // Now the copy has a clone: what it hangs on is not rolled away.
    pair.target.sh(format!(
        "zfs clone {} {}-work",
        target.at("b"),
        target.name()
    ))?;
    changed(&source, 3, "c")?;
    let sent = send(pair, &source, &target, &["--snapshot", "c"])?;
    ensure!(sent.code == 0, "{}", sent.error_text());
    ensure_equal(&source, &target, "c")
}
