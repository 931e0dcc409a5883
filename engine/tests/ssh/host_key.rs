//! Which hosts are trusted.

use std::process::Command;

use engine::error::RetryClass;
use engine::transport::ssh::{ConnectError, SshOptions, connect};

use crate::sshd::{Setup, Sshd, all_tasks_end, run};

async fn refusal(sshd: &Sshd, options: &SshOptions) -> ConnectError {
    let error = connect(&sshd.endpoint(), options, "true")
        .await
        .unwrap_err();
    assert_eq!(error.class(), RetryClass::Operator);
    all_tasks_end().await;
    error
}

#[tokio::test]
async fn an_unknown_host_is_refused_with_the_command_that_makes_it_known() {
    let sshd = Sshd::start();
    sshd.know("# nobody\n");
    let error = refusal(&sshd, &sshd.options()).await;
    let ConnectError::UnknownHostKey(unknown) = &error else {
        panic!("{error:?}")
    };
    // The fingerprint is the one that the host's operator is told to look at.
    let shown = run(Command::new("ssh-keygen")
        .arg("-lf")
        .arg(sshd.path("host_ed25519.pub")));
    assert!(shown.contains(&unknown.fingerprint), "{shown} {unknown:?}");
    let text = error.to_string();
    assert!(
        text.contains(&unknown.fingerprint) && text.contains("ssh-keygen -lf"),
        "{text}"
    );
    assert!(text.contains(&unknown.command()), "{text}");

    run(Command::new("sh").arg("-c").arg(unknown.command()));
    sshd.run("true").await;
}

#[tokio::test]
async fn a_missing_known_hosts_file_is_an_empty_one_and_none_at_all_is_an_error() {
    let sshd = Sshd::start();
    let missing = sshd.path("it's not here");
    let options = SshOptions {
        known_hosts: vec![missing.clone()],
        ..sshd.options()
    };
    let error = refusal(&sshd, &options).await;
    let ConnectError::UnknownHostKey(unknown) = &error else {
        panic!("{error:?}")
    };
    run(Command::new("sh").arg("-c").arg(unknown.command()));
    assert!(missing.exists());
    connect(&sshd.endpoint(), &options, "true").await.unwrap();

    let options = SshOptions {
        known_hosts: vec![],
        ..sshd.options()
    };
    assert!(matches!(
        refusal(&sshd, &options).await,
        ConnectError::NoKnownHosts
    ));
    let options = SshOptions {
        known_hosts: vec![sshd.path("")],
        ..sshd.options()
    };
    assert!(matches!(
        refusal(&sshd, &options).await,
        ConnectError::KnownHostsUnreadable { .. }
    ));
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_file_and_line() {
    let sshd = Sshd::start();
    sshd.keygen("host_other", "ed25519", "");
    sshd.know(&format!("# a comment\n{}", sshd.host_line("other")));
    let error = refusal(&sshd, &sshd.options()).await;
    let ConnectError::ChangedHostKey { place, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(
        (&place.file, place.line_number),
        (&sshd.path("known_hosts"), 2)
    );
    assert!(error.to_string().contains("known_hosts:2"), "{error}");
}

#[tokio::test]
async fn a_revoked_host_key_is_refused() {
    let sshd = Sshd::start();
    let line = sshd.host_line("ed25519");
    sshd.know(&format!("{line}@revoked {line}"));
    assert!(matches!(
        refusal(&sshd, &sshd.options()).await,
        ConnectError::RevokedHostKey { .. }
    ));
}

#[tokio::test]
async fn hashed_entries_count() {
    let sshd = Sshd::start();
    run(Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(sshd.path("known_hosts")));
    let hashed = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    assert!(
        hashed.starts_with("|1|") && !hashed.contains("127.0.0.1"),
        "{hashed}"
    );
    sshd.run("true").await;
}

#[tokio::test]
async fn an_entry_of_another_port_does_not_count() {
    let sshd = Sshd::start();
    let line = sshd.host_line("ed25519");
    let port = format!(":{} ", sshd.port());
    sshd.know(&line.replace(&port, ":1 "));
    assert!(matches!(
        refusal(&sshd, &sshd.options()).await,
        ConnectError::UnknownHostKey(_)
    ));
    // Nor does one without a port, which means 22.
    sshd.know(&line.replace('[', "").replace(&format!("]{port}"), " "));
    assert!(matches!(
        refusal(&sshd, &sshd.options()).await,
        ConnectError::UnknownHostKey(_)
    ));
}

#[tokio::test]
async fn a_host_known_by_one_type_of_key_is_asked_for_that_one() {
    let kinds = ["ed25519", "ecdsa", "rsa"];
    let sshd = Sshd::with(Setup {
        host_keys: &kinds,
        ..Setup::default()
    });
    for kind in kinds {
        sshd.know(&sshd.host_line(kind));
        sshd.run("true").await;
    }
}

#[tokio::test]
async fn the_second_file_counts_as_well() {
    let sshd = Sshd::start();
    let options = SshOptions {
        known_hosts: vec![sshd.path("nothing"), sshd.path("known_hosts")],
        ..sshd.options()
    };
    connect(&sshd.endpoint(), &options, "true").await.unwrap();
}
