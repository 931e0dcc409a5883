//! Which keys get us in, what is said if none does, and every way in which a
//! connection fails before that.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use engine::error::RetryClass;
use engine::transport::ssh::{
    AuthenticationFailed, ConnectError, Identity, Phase, SshEndpoint, SshOptions, connect,
};

use crate::agent::Agent;
use crate::sshd::{Setup, Sshd, all_tasks_end, user};

async fn failure(sshd: &Sshd, options: &SshOptions) -> ConnectError {
    let error = connect(&sshd.endpoint(), options, "true")
        .await
        .unwrap_err();
    all_tasks_end().await;
    error
}

async fn authentication_failure(sshd: &Sshd, options: &SshOptions) -> AuthenticationFailed {
    let error = failure(sshd, options).await;
    assert_eq!(error.class(), RetryClass::Operator);
    assert!(
        error.to_string().contains(&sshd.endpoint().to_string()),
        "{error}"
    );
    let ConnectError::AuthenticationFailed(failed) = error else {
        panic!("{error:?}")
    };
    *failed
}

fn with_identities(sshd: &Sshd, identities: Vec<Identity>) -> SshOptions {
    SshOptions {
        identities,
        ..sshd.options()
    }
}

#[tokio::test]
async fn every_customary_type_of_key_is_accepted() {
    for user_key in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::with(Setup {
            user_key,
            ..Setup::default()
        });
        sshd.run("true").await;
    }
}

#[tokio::test]
async fn a_wrong_key_is_named_with_its_fingerprint() {
    let sshd = Sshd::start();
    let wrong = sshd.keygen("wrong", "ed25519", "");
    let options = with_identities(&sshd, vec![Identity::Named(wrong.clone())]);
    let failed = authentication_failure(&sshd, &options).await;
    assert_eq!(failed.offered.len(), 1);
    assert!(
        failed.offered[0].starts_with(wrong.to_str().unwrap()),
        "{failed:?}"
    );
    assert!(failed.offered[0].contains("SHA256:"), "{failed:?}");
}

#[tokio::test]
async fn keys_are_offered_one_after_the_other_until_one_is_accepted() {
    let sshd = Sshd::start();
    let wrong = sshd.keygen("wrong", "rsa", "");
    let identities = vec![
        Identity::Customary(sshd.path("missing")),
        Identity::Customary(sshd.path("user")),
        Identity::Named(wrong),
    ];
    connect(
        &sshd.endpoint(),
        &with_identities(&sshd, identities),
        "true",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_missing_key_file_is_an_error_only_if_somebody_named_it() {
    let sshd = Sshd::start();
    let missing = sshd.path("missing");
    let options = with_identities(&sshd, vec![Identity::Named(missing.clone())]);
    let error = failure(&sshd, &options).await;
    assert!(matches!(&error, ConnectError::IdentityMissing { path } if *path == missing));
    assert_eq!(error.class(), RetryClass::Operator);

    let options = with_identities(&sshd, vec![Identity::Customary(missing)]);
    let failed = authentication_failure(&sshd, &options).await;
    assert!(failed.offered.is_empty());
    assert!(
        failed
            .to_string()
            .contains("neither a key file nor an agent"),
        "{failed}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_key_is_an_error_only_if_somebody_named_it() {
    let sshd = Sshd::start();
    let rubbish = sshd.path("log");
    std::fs::write(&rubbish, "-----BEGIN OPENSSH PRIVATE KEY-----\nrubbish\n").unwrap();
    let error = failure(
        &sshd,
        &with_identities(&sshd, vec![Identity::Named(rubbish.clone())]),
    )
    .await;
    assert!(
        matches!(error, ConnectError::IdentityUnusable { .. }),
        "{error:?}"
    );

    let identities = vec![
        Identity::Customary(rubbish),
        Identity::Customary(sshd.path("user")),
    ];
    connect(
        &sshd.endpoint(),
        &with_identities(&sshd, identities),
        "true",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_key_with_a_passphrase_is_an_error_that_points_to_the_agent() {
    let sshd = Sshd::start();
    for kind in ["ed25519", "rsa"] {
        let path = sshd.keygen(&format!("secret_{kind}"), kind, "passphrase");
        let options = with_identities(&sshd, vec![Identity::Named(path.clone())]);
        let error = failure(&sshd, &options).await;
        assert!(matches!(&error, ConnectError::IdentityEncrypted { path: p } if *p == path));
        assert!(error.to_string().contains("ssh-add"), "{error}");

        let options = with_identities(&sshd, vec![Identity::Customary(path)]);
        let failed = authentication_failure(&sshd, &options).await;
        assert!(failed.left_out[0].contains("passphrase"), "{failed:?}");
    }
}

#[tokio::test]
async fn a_key_with_a_passphrase_works_once_the_agent_has_it() {
    let sshd = Sshd::start();
    let path = sshd.keygen("secret", "ed25519", "passphrase");
    std::fs::copy(sshd.path("secret.pub"), sshd.path("authorized_keys")).unwrap();
    let agent = Agent::start(&sshd);
    agent.add_with_passphrase(&path, "passphrase");
    let options = SshOptions {
        agent: Some(agent.socket.clone()),
        ..with_identities(&sshd, vec![Identity::Named(path)])
    };
    connect(&sshd.endpoint(), &options, "true").await.unwrap();
}

#[tokio::test]
async fn the_agent_gets_us_in_with_every_customary_type_of_key() {
    for user_key in ["ed25519", "ecdsa", "rsa"] {
        let sshd = Sshd::with(Setup {
            user_key,
            ..Setup::default()
        });
        let agent = Agent::start(&sshd);
        agent.add(&sshd.keygen("wrong", "ed25519", ""));
        agent.add(&sshd.path("user"));
        let options = SshOptions {
            agent: Some(agent.socket.clone()),
            ..with_identities(&sshd, vec![])
        };
        connect(&sshd.endpoint(), &options, "true").await.unwrap();
    }
}

#[tokio::test]
async fn keys_of_the_agent_are_named_by_their_comments() {
    let sshd = Sshd::start();
    let agent = Agent::start(&sshd);
    agent.add(&sshd.keygen("wrong", "ed25519", ""));
    let options = SshOptions {
        agent: Some(agent.socket.clone()),
        ..with_identities(&sshd, vec![])
    };
    let failed = authentication_failure(&sshd, &options).await;
    assert!(
        failed.offered[0].starts_with("wrong from the agent (SHA256:"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_passed_over_and_mentioned() {
    let sshd = Sshd::start();
    let agent = Some(sshd.path("no-agent"));
    connect(
        &sshd.endpoint(),
        &SshOptions {
            agent: agent.clone(),
            ..sshd.options()
        },
        "true",
    )
    .await
    .unwrap();
    let options = SshOptions {
        agent,
        ..with_identities(&sshd, vec![])
    };
    let failed = authentication_failure(&sshd, &options).await;
    assert!(failed.left_out[0].contains("no-agent"), "{failed:?}");
}

#[tokio::test]
async fn a_server_that_loses_patience_with_our_keys_is_quoted() {
    let sshd = Sshd::with(Setup {
        config: "MaxAuthTries 2\n",
        ..Setup::default()
    });
    let agent = Agent::start(&sshd);
    for name in ["wrong1", "wrong2", "wrong3"] {
        agent.add(&sshd.keygen(name, "ed25519", ""));
    }
    let options = SshOptions {
        agent: Some(agent.socket.clone()),
        ..with_identities(&sshd, vec![Identity::Customary(sshd.path("user"))])
    };
    let failed = authentication_failure(&sshd, &options).await;
    assert!(failed.offered.len() >= 2, "{failed:?}");
    assert!(
        failed
            .server
            .join(" ")
            .contains("Too many authentication failures"),
        "{failed:?}"
    );
}

#[tokio::test]
async fn a_server_that_runs_nothing_is_an_error() {
    let sshd = Sshd::with(Setup {
        config: "MaxSessions 0\n",
        ..Setup::default()
    });
    let error = failure(&sshd, &sshd.options()).await;
    assert!(
        matches!(error, ConnectError::CommandRefused { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_server_without_our_ciphers_is_an_error_that_lists_its_own() {
    let sshd = Sshd::with(Setup {
        config: "Ciphers aes256-ctr\n",
        ..Setup::default()
    });
    let error = failure(&sshd, &sshd.options()).await;
    let ConnectError::NoCommonAlgorithm { kind, theirs, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!((kind.as_str(), theirs.as_str()), ("cipher", "aes256-ctr"));
}

fn at(host: &str, port: u16) -> SshEndpoint {
    SshEndpoint::new(&user(), host, port).unwrap()
}

#[tokio::test]
async fn a_closed_port_an_unknown_name_and_a_silent_server_are_told_apart() {
    let sshd = Sshd::start();
    let options = sshd.options();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let brief = SshOptions {
        connect_timeout: Duration::from_millis(300),
        ..options.clone()
    };
    let error = connect(&at("127.0.0.1", port), &brief, "true")
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Timeout {
                phase: Phase::Handshake,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(error.class(), RetryClass::Transient);
    all_tasks_end().await;

    drop(listener);
    let error = connect(&at("127.0.0.1", port), &options, "true")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert_eq!(error.class(), RetryClass::Transient);

    // A label this long is no name, which needs no name server to find out.
    let error = connect(&at(&"a".repeat(100), 22), &options, "true")
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_does_not_speak_ssh_is_an_error_and_not_a_hang() {
    let sshd = Sshd::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let error = connect(&at("127.0.0.1", port), &sshd.options(), "true")
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Lost {
                phase: Phase::Handshake,
                ..
            }
        ),
        "{error:?}"
    );
    all_tasks_end().await;
}
