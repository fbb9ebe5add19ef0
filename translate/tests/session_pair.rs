//! Any sequence of events in the sessions of a pair: what the contact writes leaves in order and once, or he is told; what
//! waits does not wait for ever; and nothing is left behind.

mod pair_rig;

#[path = "session_pair"]
mod session_pair {
    pub(crate) mod house;
    pub(crate) mod wire;
}

use std::time::Duration;

use nuncio_sip::event::Undelivered;
use nuncio_translate::judge::{PartnerType, UserPolicy};
use nuncio_translate::pair::*;
use nuncio_translate::typing::ChatState;
use proptest::prelude::*;
use session_pair::house::{Fate, House};
use session_pair::wire::{ours, response};

#[derive(Clone, Debug)]
enum Step {
    ContactWrites(Option<u8>, Option<ChatState>),
    ContactShows(ChatState),
    /// The SIP user is to be told something.
    Notice,
    UserInvites,
    /// A request of the SIP user in the session at this place.
    User(usize, &'static str),
    /// ACK there, for the INVITE of this distance from the last one.
    Acknowledge(usize, u32),
    /// A request in a session, by its place from the oldest, has this answer; from another client if `fork`.
    Answer {
        place: usize,
        status: u16,
        fork: bool,
    },
    Early {
        place: usize,
        status: u16,
        fork: bool,
    },
    Fail(usize, u8),
    /// What went alone has its outcome.
    Alone(bool),
    Policy(bool),
    Wait(u64),
    /// To the deadline.
    Due,
    Shutdown,
    /// A step failed half way.
    Salvage,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let statuses =
        vec![200, 200, 200, 202, 302, 404, 405, 408, 415, 422, 480, 481, 486, 487, 488, 491, 501, 603];
    let methods = vec!["MESSAGE", "INFO", "INVITE", "UPDATE", "BYE", "OPTIONS", "REFER"];
    let state = || {
        prop::sample::select(vec![
            ChatState::Active,
            ChatState::Composing,
            ChatState::Paused,
            ChatState::Gone,
        ])
    };
    let place = || prop_oneof![3 => Just(0usize), 1 => 0usize..4];
    let fork = || prop::bool::weighted(0.2);
    let step = prop_oneof![
        8 => (prop::option::of(0u8..3), prop::option::of(state())).prop_map(|(t, s)| Step::ContactWrites(t, s)),
        2 => state().prop_map(Step::ContactShows),
        1 => Just(Step::Notice),
        2 => Just(Step::UserInvites),
        4 => (place(), prop::sample::select(methods)).prop_map(|(n, m)| Step::User(n, m)),
        4 => (place(), prop_oneof![5 => Just(0u32), 1 => Just(1u32)]).prop_map(|(n, d)| Step::Acknowledge(n, d)),
        10 => (place(), prop::sample::select(statuses), fork())
            .prop_map(|(place, status, fork)| Step::Answer { place, status, fork }),
        2 => (place(), prop::sample::select(vec![180, 200]), fork())
            .prop_map(|(place, status, fork)| Step::Early { place, status, fork }),
        2 => (place(), 0u8..4).prop_map(|(n, why)| Step::Fail(n, why)),
        2 => any::<bool>().prop_map(Step::Alone),
        1 => prop::bool::weighted(0.7).prop_map(Step::Policy),
        3 => (0u64..40_000).prop_map(Step::Wait),
        5 => Just(Step::Due),
        1 => prop::bool::weighted(0.1).prop_map(|ends| if ends { Step::Shutdown } else { Step::Due }),
        1 => prop::bool::weighted(0.2).prop_map(|lost| if lost { Step::Salvage } else { Step::Due }),
    ];
    prop::collection::vec(step, 0..80)
}

impl House {
    fn step(&mut self, step: Step) {
        match step {
            Step::ContactWrites(thread, state) => self.contact_writes(thread, state),
            Step::ContactShows(state) => {
                self.input(|pair, context| {
                    pair.contact_spoke(None, Some("home"), (Some(state), false), context)
                });
            }
            Step::Notice => {
                self.notices += 1;
                let sent = std::time::UNIX_EPOCH;
                self.input(|pair, _| pair.notify(Notice::new(Cause::MayBeLost, sent)));
            }
            Step::UserInvites => drop(self.user_invites()),
            Step::User(place, method) => self.user(place, method),
            Step::Acknowledge(place, distance) => self.acknowledge(place, distance),
            Step::Answer { place, status, fork } => {
                if place < self.open.len() {
                    let request = self.open.remove(place);
                    self.respond(&request, status, fork);
                }
            }
            Step::Early { place, status, fork } => {
                if let Some(request) = self.open.get(place) {
                    let (response, tag) = (response(request, status, fork), ours(request));
                    self.input(|pair, context| pair.session_early(&tag, &response, context));
                }
            }
            Step::Fail(place, why) => {
                let kinds =
                    [Undelivered::NotSent, Undelivered::Lost, Undelivered::Timeout, Undelivered::Withdrawn];
                if place < self.open.len() {
                    let request = self.open.remove(place);
                    self.fail(&request, kinds[usize::from(why)]);
                }
            }
            Step::Alone(delivered) => self.alone(delivered),
            Step::Policy(enabled) => self.policy(enabled),
            Step::Wait(millis) => {
                self.rig.now = self.rig.now + Duration::from_millis(millis);
                self.visit();
            }
            Step::Due => self.due(),
            Step::Shutdown => {
                self.invites = false;
                self.input(|pair, context| pair.end_sessions(context));
            }
            Step::Salvage => self.salvage(),
        }
    }
}

#[test]
fn an_invitation_of_ours_is_called_off_at_once_though_what_it_was_for_may_not_leave_any_more() {
    let mut house = House::new(true, 600);
    house.contact_writes(None, None);
    house.rig.policy(PartnerType::Federated, false, UserPolicy::default());
    house.user_invites();
    house.acknowledge(0, 0);
    assert_eq!(house.fates.get(&1), Some(&Fate::Told));
}

#[test]
fn so_many_sessions_may_wait_for_their_ack_and_one_more_is_refused() {
    let mut house = House::new(false, 600);
    let accepted = (0..3 * MOST_SESSIONS).filter(|_| house.user_invites() == 200).count();
    assert_eq!((accepted, house.rig.pair.sessions()), (MOST_SESSIONS, MOST_SESSIONS));
    house.acknowledge(0, 0);
    assert_eq!(house.user_invites(), 200, "the one that is established makes room");
    assert_eq!(house.user_invites(), 486, "no other one is");
    house.finish();
}

#[test]
fn who_never_answers_bye_has_so_many_sessions_and_no_more() {
    let mut house = House::new(false, 600);
    for _ in 0..100 {
        if house.user_invites() == 200 {
            house.acknowledge(0, 0);
        }
    }
    assert_eq!(house.rig.pair.sessions(), 2 * MOST_SESSIONS);
    house.finish();
}

#[test]
fn ch_02_a_message_does_not_wait_for_ever_for_who_invites_and_never_acknowledges() {
    let mut house = House::new(true, 600);
    house.user_invites();
    house.contact_writes(None, None);
    let start = house.rig.now.instant;
    while house.fates.is_empty() {
        assert!(house.rig.now.instant < start + Duration::from_secs(660), "it waits for ever");
        house.step(Step::Wait(20_000));
        house.user_invites();
    }
    assert_eq!(house.fates.get(&1), Some(&Fate::Told));
    house.finish();
}

#[test]
fn what_became_of_a_request_means_nothing_to_a_later_pair_of_the_same_name() {
    let mut house = House::new(true, 600);
    house.rig.pair = Pair::numbered(1);
    house.contact_writes(None, None);
    let before = house.open.remove(0);
    house.rig.pair = Pair::numbered(2);
    house.contact_writes(None, None);
    house.fail(&before, Undelivered::NotSent);
    assert_eq!((house.rig.pair.waiting(), house.fates.len()), (1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn ch_02_messages_leave_in_order_and_once_or_their_sender_is_told(
        steps in steps(),
        invites in prop::bool::weighted(0.9),
        idle in prop::sample::select(vec![20u64, 600]),
    ) {
        let mut house = House::new(invites, idle);
        for step in steps {
            house.step(step);
        }
        house.finish();
    }
}
