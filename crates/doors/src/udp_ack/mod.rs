//! Door `udp_ack`: a command-line chat over datagrams with acknowledgements. See `docs/doors/udp_ack.md`.

mod enter;
mod peer;
mod post;
mod table;
mod told;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
};

use chinwag_protocol::{ConversationId, UserId};

use self::{
    enter::Strangers,
    peer::{Doing, Peer},
};
use crate::{Door, Input, LinkId, Moment, Output, Settings, desk::Desk};

/// The name of the door.
const DOOR: &str = "udp_ack";

/// The group that each account is a member of.
const EVERYONE: ConversationId = ConversationId(1);

/// The door.
pub struct UdpAck {
    peers: BTreeMap<LinkId, Peer>,
    shared: Shared,
}

/// What all links of the door share.
struct Shared {
    desk: Desk<Doing>,
    /// At which link each user of this wire is, while he is signed in.
    here: BTreeMap<UserId, (LinkId, SocketAddr)>,
    /// Who said that he goes, and has not come back since.
    left: BTreeSet<UserId>,
    strangers: Strangers,
    /// What is to be told to the other links, in this order, once the present one is done.
    news: VecDeque<News>,
}

/// What all others are to hear.
#[derive(Clone, Copy, Debug)]
enum News {
    /// A user is at this link now.
    Here(UserId, LinkId),
    /// He no longer is.
    Gone(UserId),
    /// A user's older link is to be closed: he is elsewhere now.
    Moved(LinkId),
    /// There is a user of another kind.
    Known(UserId),
}

impl Shared {
    /// Somebody is no longer at this link; the others are to hear it, unless he is at another one by now.
    fn leave(&mut self, user: UserId, link: LinkId) {
        if self.here.get(&user).is_some_and(|(at, _)| *at == link) {
            self.here.remove(&user);
            self.news.push_back(News::Gone(user));
        }
    }
}

impl UdpAck {
    /// The door, as the server's owner wants it.
    pub fn new(settings: Settings) -> Self {
        let shared = Shared {
            desk: Desk::new(settings),
            here: BTreeMap::new(),
            left: BTreeSet::new(),
            strangers: Strangers::default(),
            news: VecDeque::new(),
        };
        Self { peers: BTreeMap::new(), shared }
    }

    fn with(&mut self, link: LinkId, then: impl FnOnce(&mut Peer, &mut Shared)) {
        if let Some(peer) = self.peers.get_mut(&link) {
            then(peer, &mut self.shared);
        }
    }

    fn gone(&mut self, link: LinkId) {
        self.shared.desk.forget(link);
        if let Some(place) = self.peers.remove(&link).and_then(|peer| peer.place) {
            self.shared.leave(place.seat.me, link);
        }
    }

    /// Tells the others what happened on one link.
    fn spread(&mut self) {
        while let Some(news) = self.shared.news.pop_front() {
            match news {
                News::Here(user, at) => {
                    let address = self.peers.get(&at).map(|peer| peer.address);
                    for peer in self.peers.values_mut().filter(|peer| peer.link != at) {
                        peer.tell_here(user, address, &mut self.shared);
                    }
                }
                News::Gone(user) => {
                    for peer in self.peers.values_mut() {
                        peer.tell_gone(user, &mut self.shared);
                    }
                }
                News::Moved(link) => self.with(link, Peer::moved),
                News::Known(user) => {
                    for peer in self.peers.values_mut() {
                        peer.tell_here(user, None, &mut self.shared);
                    }
                }
            }
        }
    }

    /// Where everybody on this wire is, for a newcomer's table.
    fn addresses(&self) -> table::Addresses {
        let here = self.shared.here.iter();
        here.filter(|(_, (link, _))| self.peers.get(link).is_some_and(|peer| peer.proved))
            .map(|(user, (_, address))| (*user, *address))
            .collect()
    }
}

impl Door for UdpAck {
    fn handle(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Opened { link, peer, .. } => {
                self.peers.insert(link, Peer::new(link, peer, &self.shared.desk.settings));
            }
            Input::Bytes { link, bytes } => {
                self.with(link, |peer, shared| peer.datagram(bytes, now, shared));
            }
            Input::Ended { link, .. } | Input::Closed { link } => self.gone(link),
            Input::Answered { ask, result } => {
                if let Some((link, doing)) = self.shared.desk.answered(ask) {
                    let addresses = self.addresses();
                    self.with(link, |peer, shared| peer.answered(doing, result, &addresses, shared));
                }
            }
            Input::Profile { profile } => {
                self.shared.desk.people.tell(profile);
            }
            Input::Entry { link, entry } => self.with(link, |peer, shared| peer.entry(entry, now, shared)),
            Input::CaughtUp { link } => self.with(link, |peer, _shared| peer.caught_up()),
            Input::Signal { link, signal } => self.with(link, |peer, shared| peer.signal(signal, shared)),
            Input::Woken => {
                while let Some((link, ())) = self.shared.desk.due(now) {
                    self.with(link, |peer, shared| peer.woken(now, shared));
                }
            }
            Input::Drained { .. } | Input::DialFailed { .. } => {}
        }
        self.spread();
    }

    fn poll(&mut self) -> Option<Output> {
        self.shared.desk.poll()
    }
}
