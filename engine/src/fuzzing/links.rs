//! Bytes of several links that are one.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::protocol::join::{RECORD_BYTES, Token};
use crate::transport::bundle;

/// What comes of any bytes over several links is what their pieces hold, in the
/// order of their numbers, and ends cleanly only if none of them is missing. A
/// request to join is one whole record and nothing shorter.
pub fn bundle(data: &[u8]) {
    join(data);
    let links = links(data);
    let wanted = pieces(&links);
    let (came, clean) = gathered(links);
    match wanted {
        Some(whole) => assert!(clean && came == whole, "{} bytes came", came.len()),
        None => assert!(!clean, "a part is missing, and nobody says so"),
    }
}

fn join(data: &[u8]) {
    let record = &data[..data.len().min(RECORD_BYTES)];
    match Token::read(record) {
        Some(token) => assert_eq!(token.record(), record),
        None => assert!(record.len() < RECORD_BYTES || !Token::may_follow(&record[..16])),
    }
}

/// Chunks of up to four links. A byte says for which one and how many bytes
/// follow; its highest bit puts the head of a piece before them.
fn links(mut data: &[u8]) -> Vec<Vec<Bytes>> {
    let mut links = vec![Vec::new(); 4];
    let mut number = 0_u64;
    while let Some((&how, rest)) = data.split_first() {
        let length = usize::from(how >> 2 & 31).min(rest.len());
        let (now, later) = rest.split_at(length);
        let link = &mut links[usize::from(how & 3)];
        if how >= 128 {
            let length = u32::try_from(length).expect("it is short");
            let mut head = b"zfbn".to_vec();
            head.extend(length.to_le_bytes());
            head.extend(number.to_le_bytes());
            link.push(Bytes::from(head));
            number += 1;
        }
        if !now.is_empty() {
            link.push(Bytes::copy_from_slice(now));
        }
        data = later;
    }
    links
}

/// What the pieces hold together, if every link has whole ones and no number is
/// missing, or comes after a larger one of its link.
fn pieces(links: &[Vec<Bytes>]) -> Option<Vec<u8>> {
    let mut pieces = BTreeMap::new();
    for link in links {
        let bytes: Vec<u8> = link.iter().flatten().copied().collect();
        let mut rest = &bytes[..];
        let mut last = None;
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(16)?;
            let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
            let number = u64::from_le_bytes(head[8..].try_into().ok()?);
            let is_due = head.starts_with(b"zfbn") && length > 0 && last < Some(number);
            if !is_due || length > bundle::PIECE_BYTES_MAX {
                return None;
            }
            let (piece, later) = after.split_at_checked(length)?;
            if pieces.insert(number, piece.to_vec()).is_some() {
                return None;
            }
            last = Some(number);
            rest = later;
        }
    }
    let all = pieces.keys().copied().eq(0..pieces.len() as u64);
    all.then(|| pieces.into_values().flatten().collect())
}

fn gathered(links: Vec<Vec<Bytes>>) -> (Vec<u8>, bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut receivers = Vec::new();
        for chunks in links {
            let (sender, receiver) = mpsc::channel(chunks.len().max(1));
            for chunk in chunks {
                sender.try_send(Ok(chunk)).expect("there is room for all");
            }
            receivers.push((Bytes::new(), receiver));
        }
        let mut inbound = bundle::gather(receivers);
        let mut all = Vec::new();
        while let Some(chunk) = inbound.recv().await {
            match chunk {
                Ok(chunk) => all.extend_from_slice(&chunk),
                Err(error) => {
                    super::assert_printable(&error.to_string());
                    return (all, false);
                }
            }
        }
        (all, true)
    })
}
