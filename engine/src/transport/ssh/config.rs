//! The settings of the SSH client: algorithms, packet sizes, keepalives.
//!
//! In the way of the data they decide how fast and how safely the bytes move.

use std::borrow::Cow;

use russh::keys::ssh_key::HashAlg;
use russh::keys::{Algorithm, EcdsaCurve};
use russh::{Preferred, SshId, cipher, client, compression};

use super::known_hosts::KnownHost;
use super::{IDENTIFICATION, SshOptions};
use crate::transport::link::INBOUND_CHUNK_BYTES_MAX;

/// Packets received that may wait inside the SSH client. The client enlarges
/// the window when a packet arrives, not when it is consumed, so that this and
/// the packet size, 4 MiB together, bound its memory.
const RECEIVED_PACKETS_MAX: usize = 16;

/// AES in GCM is several times faster than ChaCha20 wherever the processor has
/// instructions for it, which is where pools of disks are.
pub(super) const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::CHACHA20_POLY1305,
];

/// Types of host keys, best first. Not RSA with SHA-1: it can be forged.
pub(super) const HOST_KEY_ALGORITHMS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

pub(super) fn client_config(options: &SshOptions, known: &KnownHost) -> client::Config {
    client::Config {
        client_id: SshId::Standard(Cow::Borrowed(IDENTIFICATION)),
        window_size: options.window_bytes,
        maximum_packet_size: u32::try_from(INBOUND_CHUNK_BYTES_MAX)
            .expect("a constant of 256 KiB fits"),
        channel_buffer_size: RECEIVED_PACKETS_MAX,
        preferred: Preferred {
            key: Cow::Owned(known.preferred(HOST_KEY_ALGORITHMS)),
            cipher: Cow::Borrowed(CIPHERS),
            // What compresses is decided per frame, not here.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(options.keepalive.interval),
        keepalive_max: options.keepalive.unanswered_max.get() as usize,
        // Frames are large and leave whole: nothing is gained by waiting.
        nodelay: true,
        ..client::Config::default()
    }
}
