//! Who gets to see an item.

use serde::{Deserialize, Serialize};

use super::{ItemBody, Phase};

/// Who gets to see an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Visibility {
    /// Clients.
    pub client: bool,
    /// Models, in the history of the session.
    pub history: bool,
}

impl Visibility {
    /// Clients and models.
    pub const CONVERSATION: Self = Self {
        client: true,
        history: true,
    };
    /// Clients only.
    pub const CLIENT: Self = Self {
        client: true,
        history: false,
    };
    /// Models only.
    pub const HISTORY: Self = Self {
        client: false,
        history: true,
    };
    /// Nobody but who looks at traces.
    pub const TRACE: Self = Self {
        client: false,
        history: false,
    };
}

/// Items that were written without visibility are shown, and kept out of prompts.
impl Default for Visibility {
    fn default() -> Self {
        Self::CLIENT
    }
}

/// For whom a block speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// Clients, and models in later turns.
    #[default]
    Client,
    /// Models in later turns, not clients.
    History,
    /// Nobody but who looks at traces.
    Trace,
}

impl Audience {
    /// Of what a generator says when nothing is declared: in the main phase for clients, in a tool's call or beside it for traces.
    pub fn of_generator(phase: Phase, in_tool: bool) -> Self {
        match phase {
            Phase::Main if !in_tool => Self::Client,
            Phase::Main | Phase::Work => Self::Trace,
        }
    }

    /// The one that counts: of the item's own, else of the block's, else of the place.
    pub fn first(of_item: Option<Self>, of_block: Option<Self>, of_place: Self) -> Self {
        of_item.or(of_block).unwrap_or(of_place)
    }

    /// Who sees an item that is said to this audience. Only what is part of a conversation can be hidden from clients or shown to models.
    pub fn sees(self, body: &ItemBody) -> Visibility {
        match (body.is_conversation(), self) {
            (false, _) => Visibility::CLIENT,
            (true, Self::Client) => Visibility::CONVERSATION,
            (true, Self::History) => Visibility::HISTORY,
            (true, Self::Trace) => Visibility::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{ContentPart, Role, Status};

    #[test]
    fn the_nearest_declaration_counts_and_only_for_conversation() {
        let message = ItemBody::Message {
            role: Role::Assistant,
            content: vec![ContentPart::text("hi")],
        };
        let status = ItemBody::Status(Status::default());
        use Audience::{Client, History, Trace};
        for (of_item, of_block, of_place, sees) in [
            (None, None, Client, Visibility::CONVERSATION),
            (None, None, Trace, Visibility::TRACE),
            (None, Some(History), Client, Visibility::HISTORY),
            (None, Some(Client), Trace, Visibility::CONVERSATION),
            (Some(Trace), Some(Client), Client, Visibility::TRACE),
            (Some(Client), Some(Trace), Trace, Visibility::CONVERSATION),
        ] {
            let audience = Audience::first(of_item, of_block, of_place);
            assert_eq!(audience.sees(&message), sees);
            assert_eq!(audience.sees(&status), Visibility::CLIENT);
        }
        assert_eq!(Audience::of_generator(Phase::Main, false), Client);
        assert_eq!(Audience::of_generator(Phase::Main, true), Trace);
        assert_eq!(Audience::of_generator(Phase::Work, false), Trace);
    }
}
