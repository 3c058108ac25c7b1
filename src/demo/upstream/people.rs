//! Made-up people. Their card numbers are those that payment providers publish for tests.

use serde_json::{Value, json};

/// A customer.
pub(super) struct Person {
    pub id: &'static str,
    pub name: &'static str,
    pub email: &'static str,
    pub card: &'static str,
    pub note: &'static str,
}

impl Person {
    /// As the API shows it.
    pub(super) fn json(&self) -> Value {
        json!({
            "id": self.id, "name": self.name, "email": self.email, "card": self.card, "note": self.note,
        })
    }
}

/// All of them.
pub(super) const PEOPLE: [Person; 5] = [
    Person {
        id: "c-1001",
        name: "Ada Lovelace",
        email: "ada.lovelace@example.com",
        card: "4242 4242 4242 4242",
        note: "Early access to Project Falcon.",
    },
    Person {
        id: "c-1002",
        name: "Alan Turing",
        email: "alan@bletchley.example.org",
        card: "5555-5555-5555-4444",
        note: "Asked twice about Project Falcon; call back on Monday.",
    },
    Person {
        id: "c-1003",
        name: "Katherine Johnson",
        email: "k.johnson+billing@example.net",
        card: "378282246310005",
        note: "Pays by invoice.",
    },
    Person {
        id: "c-1004",
        name: "Annie Easley",
        email: "annie.easley@example.co.uk",
        card: "6011111111111117",
        note: "Prefers e-mail.",
    },
    Person {
        id: "c-1005",
        name: "Zo\u{eb} M\u{fc}ller",
        email: "zoe@example.de",
        card: "4000 0566 5566 5556",
        note: "Wants to leave Project Falcon \u{2013} offer a discount.",
    },
];
