//! What driver and helper say to each other.
//!
//! First each side sends a [`hello`]: which protocol versions it speaks. Then
//! the driver sends requests, one at a time, and the helper answers each
//! ([`message`]). A transfer is a request whose answer is followed by data
//! frames, in one direction or the other.
//!
//! Requests are typed and name datasets; there is no way to say "run this".
//! The helper carries out what its authorization allows and plans nothing.
//!
//! No I/O here: these are the words, `peer` and `helper` speak them.

pub mod failure;
pub mod hello;
pub mod join;
pub mod message;
pub mod pulse;
