//! What to try next: the methods that the server still allows, and what has not been used.
//!
//! Keys come first, then keyboard-interactive, then the password: ssh's own order
//! (PreferredAuthentications in ssh_config(5)). A key goes out without asking what the server
//! allows: its answer to the first one tells. A password goes only where it was offered.

use russh::{MethodKind, MethodSet};

/// What to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Ask what the server allows (RFC 4252 section 5.2).
    Ask,
    /// The key at this place.
    Key(usize),
    Interactive,
    Password,
}

/// What has become of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Fresh,
    Refused,
    /// It was right, or cannot sign: not to be tried again on this connection.
    Done,
}

/// Where an authentication stands.
pub(super) struct Order {
    keys: Vec<Use>,
    /// Whether there is a password for the methods that take one.
    interactive: bool,
    password: bool,
    /// What the server allows, once it has said so.
    allowed: Option<MethodSet>,
}

impl Order {
    pub(super) fn new(keys: usize, has_password: bool) -> Self {
        Order {
            keys: vec![Use::Fresh; keys],
            interactive: has_password,
            password: has_password,
            allowed: None,
        }
    }

    /// What the server allows, once it has said so.
    pub(super) fn allowed(&self) -> Option<&MethodSet> {
        self.allowed.as_ref()
    }

    fn allows(&self, method: MethodKind) -> bool {
        let allowed = self.allowed.as_ref();
        allowed.is_some_and(|methods| methods.contains(&method))
    }

    /// What to try next; nothing when all that the server allows was tried.
    pub(super) fn next(&self) -> Option<Turn> {
        let fresh = self.keys.iter().position(|key| *key == Use::Fresh);
        match (fresh, &self.allowed) {
            (Some(key), None) => Some(Turn::Key(key)),
            (None, None) => Some(Turn::Ask),
            (Some(key), Some(_)) if self.allows(MethodKind::PublicKey) => Some(Turn::Key(key)),
            _ if self.interactive && self.allows(MethodKind::KeyboardInteractive) => {
                Some(Turn::Interactive)
            }
            _ if self.has_password_left() => Some(Turn::Password),
            _ => None,
        }
    }

    /// Whether the method `password` could still be tried.
    pub(super) fn has_password_left(&self) -> bool {
        self.password && self.allows(MethodKind::Password)
    }

    /// The server refused it, and allows these.
    pub(super) fn refused(&mut self, turn: Turn, allowed: MethodSet) {
        self.used(turn, Use::Refused);
        self.allowed = Some(allowed);
    }

    /// It was right, and the server wants one of these as well. A key that was refused before may
    /// be what is wanted now, as ssh has it; what was right is not asked for twice.
    pub(super) fn partial(&mut self, turn: Turn, allowed: MethodSet) {
        self.used(turn, Use::Done);
        for key in &mut self.keys {
            if *key == Use::Refused {
                *key = Use::Fresh;
            }
        }
        self.allowed = Some(allowed);
    }

    /// It could not be used.
    pub(super) fn skipped(&mut self, turn: Turn) {
        self.used(turn, Use::Done);
    }

    fn used(&mut self, turn: Turn, how: Use) {
        match turn {
            Turn::Ask => {}
            Turn::Key(at) => {
                if let Some(key) = self.keys.get_mut(at) {
                    *key = how;
                }
            }
            Turn::Interactive => self.interactive = false,
            Turn::Password => self.password = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const PUBLICKEY: MethodKind = MethodKind::PublicKey;
    const PASSWORD: MethodKind = MethodKind::Password;
    const INTERACTIVE: MethodKind = MethodKind::KeyboardInteractive;

    fn set(methods: &[MethodKind]) -> MethodSet {
        methods.into()
    }

    /// Plays against a server that always answers with `allowed`, and refuses everything.
    fn all_refused(keys: usize, has_password: bool, allowed: &[MethodKind]) -> Vec<Turn> {
        let mut order = Order::new(keys, has_password);
        let mut turns = Vec::new();
        while let Some(turn) = order.next() {
            turns.push(turn);
            order.refused(turn, set(allowed));
        }
        turns
    }

    proptest! {
        /// Whatever a server says, it is tired of us before we are of it: each key is offered once
        /// between two answers that bring something, and each of those uses something up.
        #[test]
        fn every_server_comes_to_an_end(
            keys in 0..5_usize,
            has_password: bool,
            answers in vec((0..3_u8, 0..8_u8), 60),
        ) {
            let mut order = Order::new(keys, has_password);
            let mut answers = answers.into_iter();
            let (mut turns, mut taken) = (0, Vec::new());
            while let Some(turn) = order.next() {
                turns += 1;
                prop_assert!(turns <= 1 + (keys + 2) * (keys + 3), "{turns}");
                prop_assert!(!taken.contains(&turn), "{turn:?} again");
                let (how, methods) = answers.next().unwrap_or((0, 7));
                let all = [PUBLICKEY, INTERACTIVE, PASSWORD];
                let allowed = all.iter().enumerate().filter(|(n, _)| methods >> n & 1 == 1);
                let allowed: Vec<MethodKind> = allowed.map(|(_, method)| *method).collect();
                match how {
                    0 => order.refused(turn, set(&allowed)),
                    1 if turn != Turn::Ask => {
                        taken.push(turn);
                        order.partial(turn, set(&allowed));
                    }
                    _ if turn != Turn::Ask => {
                        taken.push(turn);
                        order.skipped(turn);
                    }
                    _ => order.refused(turn, set(&allowed)),
                }
            }
        }
    }

    #[test]
    fn keys_come_first_then_keyboard_interactive_then_the_password() {
        let turns = all_refused(2, true, &[PASSWORD, INTERACTIVE, PUBLICKEY]);
        let expected = [
            Turn::Key(0),
            Turn::Key(1),
            Turn::Interactive,
            Turn::Password,
        ];
        assert_eq!(turns, expected);
    }

    #[test]
    fn what_the_server_does_not_allow_is_not_tried() {
        assert_eq!(
            all_refused(3, true, &[PASSWORD]),
            [Turn::Key(0), Turn::Password]
        );
        assert_eq!(all_refused(1, true, &[PUBLICKEY]), [Turn::Key(0)]);
        assert_eq!(all_refused(2, true, &[]), [Turn::Key(0)]);
        assert_eq!(
            all_refused(1, false, &[PASSWORD, INTERACTIVE]),
            [Turn::Key(0)]
        );
    }

    #[test]
    fn without_a_key_the_server_is_asked_before_a_password_goes_out() {
        let turns = all_refused(0, true, &[PUBLICKEY, PASSWORD]);
        assert_eq!(turns, [Turn::Ask, Turn::Password]);
        assert_eq!(all_refused(0, false, &[PUBLICKEY]), [Turn::Ask]);
    }

    #[test]
    fn a_key_that_was_right_is_not_asked_for_twice_and_one_that_was_refused_may_be() {
        let mut order = Order::new(2, true);
        order.refused(Turn::Key(0), set(&[PUBLICKEY]));
        order.partial(Turn::Key(1), set(&[PUBLICKEY, PASSWORD]));
        assert_eq!(order.next(), Some(Turn::Key(0)));
        order.refused(Turn::Key(0), set(&[PUBLICKEY, PASSWORD]));
        assert_eq!(order.next(), Some(Turn::Password));
        order.partial(Turn::Password, set(&[PASSWORD]));
        assert_eq!(order.next(), None, "one password, once");
    }

    #[test]
    fn a_key_that_was_not_looked_at_is_offered_once_the_server_takes_keys() {
        // AuthenticationMethods password,publickey.
        let mut order = Order::new(1, true);
        order.refused(Turn::Key(0), set(&[PASSWORD]));
        assert_eq!(order.next(), Some(Turn::Password));
        order.partial(Turn::Password, set(&[PUBLICKEY]));
        assert_eq!(order.next(), Some(Turn::Key(0)));
    }

    #[test]
    fn a_key_that_cannot_sign_is_left_out_and_the_next_one_tried() {
        let mut order = Order::new(2, false);
        order.skipped(Turn::Key(0));
        assert_eq!(order.next(), Some(Turn::Key(1)));
        order.skipped(Turn::Key(1));
        assert_eq!(order.next(), Some(Turn::Ask), "nobody has said yet");
    }
}
