//! Publish and subscribe on a session's core: publications are sent to the cores that have a subscription, and put
//! into the replies of the sessions here.
//!
//! A publication goes behind the reply of the line that made it, and never into the middle of a reply. What comes for a
//! session with lines under way goes behind those lines: so a message never overtakes the confirmation of its
//! subscription. A session that is unsubscribing has its last messages before the confirmation.

use bytes::Bytes;

use super::{Blocked, Core, Session, SessionId};
use crate::command::pubsub::write_message;
use crate::mesh::{Message, Outbox};
use crate::pubsub::{Kind, Publication, Subscriber, Subscriptions};
use crate::resp::{Output, Proto, Reply};

/// One message, encoded at most once for each protocol.
#[derive(Default)]
struct Encoded {
    resp2: Option<Output>,
    resp3: Option<Output>,
}

impl Encoded {
    fn get(&mut self, proto: Proto, publication: &Publication, pattern: Option<&Bytes>) -> &Output {
        let place = match proto {
            Proto::Resp2 => &mut self.resp2,
            Proto::Resp3 => &mut self.resp3,
        };
        place.get_or_insert_with(|| {
            let mut out = Output::default();
            write_message(&mut Reply::new(&mut out, proto), publication, pattern);
            out
        })
    }
}

impl Core {
    /// A line of pub/sub must wait: for the lines before it, so that who hears of it sees what they did, or until
    /// there is room for what it has to say to other cores.
    pub(super) fn holds_back(&mut self, session: &mut Session) -> bool {
        if !session.slots.is_empty() {
            session.blocked = Blocked::Drain;
            return true;
        }
        if let Some(peer) = self.outboxes.iter().position(Outbox::is_full) {
            session.blocked = Blocked::Outbox(peer);
            self.wait_for_turn(session);
            return true;
        }
        false
    }

    /// Sends what was published. `current` is the session whose line ran, when it is not in its place.
    #[cold]
    pub(super) fn send_publications(&mut self, mut current: Option<&mut Session>) {
        for (core, publication) in self.pubsub.take_outgoing() {
            if core == self.place.index {
                self.receive_publication(&publication, current.as_deref_mut());
            } else {
                self.outboxes[core].push_publication(publication);
            }
        }
    }

    /// Hands a publication to the sessions of this core that it is for.
    pub(super) fn receive_publication(
        &mut self,
        publication: &Publication,
        mut current: Option<&mut Session>,
    ) {
        if publication.named {
            self.hand_out(publication, None, current.as_deref_mut());
        }
        for pattern in &publication.patterns {
            self.hand_out(publication, Some(pattern), current.as_deref_mut());
        }
    }

    fn hand_out(
        &mut self,
        publication: &Publication,
        pattern: Option<&Bytes>,
        mut current: Option<&mut Session>,
    ) {
        let mut receivers = std::mem::take(&mut self.receivers);
        let (kind, name) = match pattern {
            Some(pattern) => (Kind::Pattern, pattern),
            None => (publication.kind, &publication.channel),
        };
        self.pubsub
            .receivers(kind, name, publication.changes, &mut receivers);
        let mut encoded = Encoded::default();
        for id in receivers.drain(..).map(SessionId::from) {
            if let Some(session) = current.as_deref_mut()
                && session.id == id
            {
                session.push(encoded.get(session.client.proto, publication, pattern));
                continue;
            }
            let Some(mut session) = self.sessions.take(id) else {
                continue;
            };
            session.push(encoded.get(session.client.proto, publication, pattern));
            self.check_output_limit(&mut session);
            self.touch(&mut session);
            self.sessions.put(session);
        }
        self.receivers = receivers;
    }

    /// A client is gone that had subscriptions.
    #[cold]
    pub(super) fn subscriber_gone(&mut self, id: SessionId, subscriptions: Subscriptions) {
        let left = subscriptions.leave_all(id.into(), &mut self.pubsub);
        if left.is_empty() {
            return;
        }
        for core in 0..self.place.count {
            if core != self.place.index {
                self.send(core, Message::Unsubscribed(left.clone()));
            }
        }
    }
}

impl Session {
    /// Adds a message that answers no line.
    pub(super) fn push(&mut self, message: &Output) {
        if self.client.close.is_some() {
            return;
        }
        let unsubscribing = self.slots.len() == 1
            && self
                .client
                .subscriptions
                .as_ref()
                .is_some_and(|own| own.is_ending());
        if unsubscribing {
            self.out.append_range(message, 0..message.len());
        } else {
            self.stage(message, 0..message.len());
        }
    }
}

impl From<SessionId> for Subscriber {
    fn from(id: SessionId) -> Subscriber {
        Subscriber {
            slot: id.slot,
            generation: id.generation,
        }
    }
}

impl From<Subscriber> for SessionId {
    fn from(subscriber: Subscriber) -> SessionId {
        SessionId {
            slot: subscriber.slot,
            generation: subscriber.generation,
        }
    }
}
