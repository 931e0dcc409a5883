use super::*;

#[test]
fn a_request_with_an_unknown_field_is_not_obeyed() {
    let text = r#"{"tree":{"root":"tank/a","scope":"one","only_if":"friday"}}"#;
    assert!(serde_json::from_str::<Request>(text).is_err());
    let text = r#"{"tree":{"root":"tank/a","scope":"one"}}"#;
    assert!(serde_json::from_str::<Request>(text).is_ok());
}

#[test]
fn a_request_that_asks_for_no_workers_is_what_an_older_helper_knows() {
    let request = |workers| Request::Send {
        request: SendRequest {
            snapshot: SnapshotName::parse("tank/a@x").unwrap(),
            base: None,
            mode: crate::zfs::SendMode::Plain,
            resume: None,
        },
        transfer: 1,
        compression: Compression::Off,
        workers,
    };
    let text = serde_json::to_string(&request(None)).unwrap();
    assert!(!text.contains("workers"), "{text}");
    for workers in [None, Some(4)] {
        let text = serde_json::to_string(&request(workers)).unwrap();
        let back: Request = serde_json::from_str(&text).unwrap();
        assert_eq!(back, request(workers));
    }
}

#[test]
fn a_request_with_a_bad_name_is_not_obeyed() {
    let text = r#"{"snapshot":{"names":["tank/a@x","tank/../a@y"]}}"#;
    assert!(serde_json::from_str::<Request>(text).is_err());
}

#[test]
fn words_of_a_peer_cannot_steer_a_terminal() {
    let failure = Failure::Stream {
        snapshot: SnapshotName::parse("tank/a@x").unwrap(),
        reason: "\u{1b}[2Jgone\r\nerror: done, ünd gut".to_owned(),
    };
    let Reply::Failed(shown) = Reply::Failed(failure).made_printable() else {
        panic!("another reply")
    };
    let text = shown.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.contains("gone") && text.contains("ünd gut"), "{text}");
}

#[test]
fn errno_and_named_kinds_survive_the_wire() {
    use crate::zfs::{ZfsError, ZfsErrorKind};
    for kind in [ZfsErrorKind::Modified, ZfsErrorKind::Other(1044)] {
        let reply = Reply::Failed(ZfsError::new("receive", "a@b", kind).into());
        let text = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    }
}
