//! Several do something with one batch at the same time: SUBSCRIBEs of its dialog that came on different connections, and its
//! end. What each does under a lock is a step; the steps of all come in any order.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use nuncio_sip::connection::{Connection, ConnectionConfig, Output};
use nuncio_sip::event::{Answer, Terminate, TerminateReason, check_subscribe};
use nuncio_sip::hop::{HopConnection, HopOutput};
use nuncio_translate::batch::Batch;
use nuncio_translate::judge::{Partner, PartnerType, Snapshot};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::super::ends::Visit;
use super::*;
use crate::gateway::errands::STEP;
use crate::gateway::testing::{gateway_with_names, moment};

const BATCH_TAG: &str = "batch-1";
const USER: &str = "alice@contoso.example";
/// The third one is the first.
const URIS: [&str; 3] = ["sip:b@fabrikam.example", "sip:c@fabrikam.example", "sip:b@FABRIKAM.example"];

fn subscribe() -> Message {
    let text = format!(
        "SUBSCRIBE sip:{USER} SIP/2.0\r\nVia: SIP/2.0/TLS fe;branch=z9hG4bK1\r\nFrom: <sip:{USER}>;tag=fe\r\nTo: <sip:{USER}>\r\n\
         Call-ID: c\r\nCSeq: 1 SUBSCRIBE\r\nMax-Forwards: 70\r\nContact: <sip:fe;transport=tls>\r\nEvent: presence\r\n\
         Expires: 600\r\nAccept: application/pidf+xml\r\nSupported: eventlist\r\nContent-Length: 0\r\n\r\n"
    );
    Message::parse(text.into_bytes().into()).unwrap()
}

fn transaction(now: Moment) -> ServerTxn {
    let config = ConnectionConfig::new("192.0.2.1:5061".parse().unwrap(), "gw", [0; 16]);
    let mut connection: Connection<()> = Connection::new(config, now.instant);
    connection.receive(subscribe(), || "t", now.instant);
    let Some(Output::Request { txn, .. }) = connection.poll() else { panic!("no request") };
    txn
}

struct Scene {
    gateway: Gateway,
    now: Moment,
    transaction: ServerTxn,
    held: Arc<Mutex<Held>>,
    /// All who ever entered.
    entered: Mutex<Vec<Watching>>,
}

impl Scene {
    fn new() -> Rc<Self> {
        let (gateway, now) = (gateway_with_names("contoso.example", "fabrikam.example"), moment());
        let (request, transaction) = (subscribe(), transaction(now));
        let wanted = check_subscribe(&request, &gateway.batches.events, |_| true).unwrap();
        let (machine, _) = gateway
            .with_batch_context(now, |context| Batch::accept(&request, &wanted, BATCH_TAG, context).unwrap());
        let held = Held {
            counts: true,
            stopping: false,
            gathers: false,
            machine,
            key: PairKey::new(USER, USER),
            front_end: "pool".into(),
            watching: Default::default(),
            refused: Default::default(),
            cseq: 0,
            transaction,
            armed: None,
        };
        assert_eq!(gateway.batches.insert(&BATCH_TAG.into(), USER, held), None);
        let held = gateway.batches.get(BATCH_TAG).unwrap();
        Rc::new(Self { gateway, now, transaction, held, entered: Mutex::default() })
    }

    fn with_round<R>(&self, cseq: u32, step: impl FnOnce(&Round<'_>) -> R) -> R {
        let batch = CompactString::from(BATCH_TAG);
        let (transaction, expires) = (self.transaction, MEMBERS_LAST);
        step(&Round { batch: &batch, user: USER, media: "application/pidf+xml", cseq, transaction, expires })
    }

    /// Nobody watches for the batch whom it does not know of, and those whom it knows of do.
    fn check(&self) {
        let batch = self.held.lock();
        for watching in self.entered.lock().iter() {
            let known = batch.watching.values().any(|known| known.tag == watching.tag);
            assert_eq!(self.gateway.has_watcher(watching), known, "{watching:?}");
        }
        assert_eq!(self.gateway.batches.members.len(), batch.watching.len(), "tags that lead to the batch");
        let ended = batch.machine.has_ended();
        assert!(!ended || batch.watching.is_empty());
        let all = batch.machine.members().all(|(number, _)| batch.watching.contains_key(&number));
        assert!(ended || all, "every member watches: {:?}", batch.watching);
    }
}

/// What one of them still has to do.
struct Task(VecDeque<Step>);
type Step = Box<dyn FnOnce(&mut Task)>;

/// A SUBSCRIBE that changes the members, as [`Gateway::change_members`] has it.
fn changes(scene: &Rc<Scene>, changes: Vec<Change>) -> Task {
    let scene = Rc::clone(scene);
    let begin = move |task: &mut Task| {
        let mut batch = scene.held.lock();
        if batch.machine.has_ended() {
            return;
        }
        batch.cseq += 1;
        let (cseq, left, joining) = (batch.cseq, batch.change(&changes), batch.joining(1));
        drop(batch);
        for watching in left {
            let scene = Rc::clone(&scene);
            task.0.push_back(Box::new(move |_| {
                scene.gateway.leave_pair(&watching, (cseq, scene.transaction), scene.now);
            }));
        }
        for member in joining {
            task.0.push_back(joins(&scene, cseq, member));
        }
    };
    Task(VecDeque::from([Box::new(begin) as Step]))
}

/// One member, as [`Gateway::join`] has it.
fn joins(scene: &Rc<Scene>, cseq: u32, member: Joining) -> Step {
    let scene = Rc::clone(scene);
    Box::new(move |task| {
        let (gateway, now) = (&scene.gateway, scene.now);
        if let Some(watching) = member.watching.as_ref().filter(|watching| gateway.has_watcher(watching)) {
            return scene.with_round(cseq, |round| gateway.ask_again(round, watching, now));
        }
        let entered = scene.with_round(cseq, |round| gateway.enter(round, &member, now));
        let Some(watching) = entered.map(Rc::new) else { return };
        scene.entered.lock().push((*watching).clone());
        let (back, known) = (Rc::clone(&scene), Rc::clone(&watching));
        task.0.push_front(Box::new(move |_| {
            back.with_round(cseq, |round| back.gateway.look_back(round, member.number, &known, back.now));
        }));
        let scene = Rc::clone(&scene);
        task.0.push_front(Box::new(move |_| {
            scene.with_round(cseq, |round| scene.gateway.begin(round, member.number, &watching, scene.now));
        }));
    })
}

/// The end, as [`Gateway::visit_batch`] has it.
fn ends(scene: &Rc<Scene>) -> Task {
    let scene = Rc::clone(scene);
    let end = move |task: &mut Task| {
        let end = Terminate::because(TerminateReason::Probation);
        let mut batch = scene.held.lock();
        scene.gateway.with_batch_context(scene.now, |context| batch.machine.terminate(end, context));
        drop(batch);
        let Some(visit) = scene.gateway.look_at_batch(BATCH_TAG, scene.now) else { return };
        let visit = Rc::new(visit);
        for at in 0..visit.watching.len() {
            let (scene, visit): (_, Rc<Visit>) = (Rc::clone(&scene), Rc::clone(&visit));
            task.0.push_back(Box::new(move |_| {
                scene.gateway.see_to(&visit, &visit.watching[at], scene.now);
            }));
        }
    };
    Task(VecDeque::from([Box::new(end) as Step]))
}

fn change() -> impl Strategy<Value = Change> {
    let uri = || prop::sample::select(&URIS[..]).prop_map(Box::from);
    prop_oneof![1 => Just(Change::Clear), 4 => uri().prop_map(Change::Add), 2 => uri().prop_map(Change::Remove)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn ev_19_whatever_happens_at_the_same_time_nobody_watches_for_a_batch_that_does_not_know_of_him(
        lists in prop::collection::vec(prop::collection::vec(change(), 1..4), 1..4),
        with_end in any::<bool>(),
        order in prop::collection::vec(0usize..4, 60),
    ) {
        let scene = Scene::new();
        let mut tasks: Vec<Task> = lists.into_iter().map(|list| changes(&scene, list)).collect();
        tasks.extend(with_end.then(|| ends(&scene)));
        let mut order = order.into_iter();
        while !tasks.is_empty() {
            let at = order.next().map_or(0, |next| next % tasks.len());
            let task = &mut tasks[at];
            if let Some(step) = task.0.pop_front() {
                step(task);
            }
            if tasks[at].0.is_empty() {
                tasks.remove(at);
            }
        }
        scene.check();
    }
}

#[test]
fn whatever_a_batch_wants_of_many_members_is_done_in_steps() {
    let scene = Scene::new();
    let Scene { gateway, now, held, .. } = &*scene;
    let many = 3 * STEP + 1;
    let adds: Vec<_> =
        (0..many).map(|number| Change::Add(format!("sip:c{number}@fabrikam.example").into())).collect();
    gateway.change_members(&BATCH_TAG.into(), &adds, 600, *now);
    while gateway.run_errands(*now) {}
    let pairs: Vec<_> = held.lock().watching.values().cloned().collect();
    let watched = || pairs.iter().filter(|watching| gateway.has_watcher(watching)).count();
    assert_eq!((pairs.len(), watched()), (many, many));
    let steps = || std::iter::from_fn(|| gateway.run_errands(*now).then_some(())).count() + 1;

    held.lock().gathers = true;
    gateway.visit_batch(BATCH_TAG, *now);
    assert!(!gateway.errands_are_short());
    assert_eq!(steps(), 4, "told of all of them again");

    let removes: Vec<_> =
        (0..=STEP).map(|number| Change::Remove(format!("sip:c{number}@fabrikam.example").into())).collect();
    gateway.change_members(&BATCH_TAG.into(), &removes, 600, *now);
    assert_eq!((watched(), steps(), watched()), (many, 2, many - STEP - 1), "taken out");

    let end = Terminate::because(TerminateReason::Probation);
    gateway.with_batch_context(*now, |context| held.lock().machine.terminate(end, context));
    gateway.visit_batch(BATCH_TAG, *now);
    let mut left = vec![watched()];
    while gateway.run_errands(*now) {
        left.push(watched());
    }
    left.push(watched());
    assert_eq!(left, [2 * STEP, STEP, 0], "ended");
    assert!(gateway.errands_done());
}

#[test]
fn trust_what_leaves_a_batch_says_by_which_policy_it_was_judged() {
    let scene = Scene::new();
    let Scene { gateway, now, held, .. } = &*scene;
    let judged_by = gateway.policy.load_full();
    let domain = "fabrikam.example".into();
    let partner = Partner { domain, partner_type: PartnerType::Federated, enabled: false };
    gateway.set_policy(Snapshot::new(2, ["contoso.example".into()], [(partner, Vec::new())]));
    let mut batch = held.lock();
    gateway.with_batch_context(*now, |context| {
        drop(batch.machine.gathered(Answer::plain(200), context, &mut |_| true));
    });
    gateway.carry_under(&judged_by, &mut batch, *now);
    drop(batch);
    let sent = gateway.routes[0].hops.step(|group| {
        group.connected(HopConnection(1), now.instant);
        std::iter::from_fn(|| group.poll()).find_map(|output| match output {
            HopOutput::Send { outgoing, .. } => Some(outgoing.envelope().clone()),
            _ => None,
        })
    });
    let envelope = sent.expect("a notification");
    assert_eq!(envelope.judged.map(|judged| judged.generation), Some(1));
    assert!(
        !gateway.may_still_leave(&envelope, *now),
        "the policy is another one by now: it is written anew"
    );
}
