//! Requests that a policy holds until people have decided: what finds them again, what a verdict covers, and
//! the machine that leads each from the question to its one use.
//!
//! ```text
//!            ask (same bytes)                    ┌─ 60 s without its caller ─► abandoned
//!            ┌──────┐                            │
//!   ask ──► pending ┴── yes, as often as needed ─┼─► approved ── its bytes are there ─► consumed
//!            │  ▲                                │      │  ▲                             │
//!            │  └── other bytes: revision n + 1 ─┼──────┘  └──── did not go upstream ────┘
//!            └── no ─► denied                    └─ nobody decided ─► expired
//! ```
//!
//! Pure: it is told what happens, with the time, and says what to record, to keep and to tell. It holds no
//! body, waits for nothing and stores nothing; `app` does. Start at [`Book`].

mod approver;
mod book;
mod card;
mod conversation;
mod digest;
mod freeze;
mod grant;
mod notice;
mod order;
mod question;
#[cfg(test)]
mod tests;

pub use approver::{Approver, Reach};
pub use book::{Book, Decision, Effects, Fault, Given, Scope};
pub use card::{Card, CardView, Changed, Client, State, Voice};
pub use conversation::{Change, Conversations, Head, Judged, Remembered, Setting, Turn};
pub use digest::{Digests, Key};
pub use freeze::{Freeze, Freezer, Whom};
pub use grant::{Grant, GrantView};
pub use notice::{
    Address, Keys, Letter, MalformedKey, Notice, NoticeData, NoticeKind, Rendered, SigningKey, Target,
    TargetKind, Unsendable, pause_after, wait_asked_for,
};
pub use order::{Answered, Order, Page, Place};
pub use question::{Excerpt, Question, Seat, Settlement, Verdict};

/// Crockford's base 32, as in request ids.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// `PREFIX_` and 16 digits of 80 random bits.
pub fn name(prefix: &str, random: [u8; 10]) -> String {
    let bits = random.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    let digits = (0..16).rev().map(|digit| char::from(ALPHABET[(bits >> (5 * digit)) as usize & 31]));
    format!("{prefix}_{}", digits.collect::<String>())
}
