//! Any sequence of events: the session says each thing once, keeps its numbers, and ends.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Say,
    Type,
    End,
    /// A request that was sent, by its place from the end, is answered, or fails.
    Answer(usize, u16),
    Fail(usize, u8),
    Early(u16, bool),
    Request(&'static str, bool),
    Ack(bool),
    Wait(u64),
    /// To the deadline.
    Due,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let statuses = vec![200, 202, 404, 405, 408, 422, 481, 486, 487, 491, 500];
    let methods = vec!["MESSAGE", "INFO", "INVITE", "UPDATE", "BYE", "OPTIONS", "REFER", "FOO"];
    let step = prop_oneof![
        4 => Just(Step::Say),
        1 => Just(Step::Type),
        1 => Just(Step::End),
        6 => (0usize..4, prop::sample::select(statuses)).prop_map(|(n, status)| Step::Answer(n, status)),
        2 => (0usize..4, 0u8..3).prop_map(|(n, why)| Step::Fail(n, why)),
        2 => (prop::sample::select(vec![180u16, 200]), any::<bool>()).prop_map(|(s, same)| Step::Early(s, same)),
        6 => (prop::sample::select(methods), any::<bool>()).prop_map(|(m, body)| Step::Request(m, body)),
        3 => any::<bool>().prop_map(Step::Ack),
        3 => (0u64..40_000).prop_map(Step::Wait),
        4 => Just(Step::Due),
    ];
    prop::collection::vec(step, 0..60)
}

/// What has been said so far.
#[derive(Default)]
struct Said {
    established: bool,
    ended: bool,
    released: bool,
    settled: HashSet<u32>,
    /// The last number in the dialog with this To tag.
    number: std::collections::HashMap<String, u32>,
}

impl Said {
    fn check(&mut self, rig: &mut Rig) {
        let before = rig.sent.len();
        for did in rig.did() {
            assert!(!self.released, "{did:?} after Released");
            match did {
                Did::Bound => panic!("bound twice"),
                Did::Released => self.released = true,
                Did::Established => assert!(!std::mem::replace(&mut self.established, true) && !self.ended),
                Did::Failed(why) => {
                    assert!(!std::mem::replace(&mut self.ended, true) && !self.established, "{why}");
                }
                Did::Ended(why) => assert!(!std::mem::replace(&mut self.ended, true), "{why:?}"),
                Did::Message(serial, _) => assert!(self.settled.insert(serial), "{serial} settled twice"),
                Did::Send(_) | Did::Cancel | Did::Repeat | Did::Ringing(_) => {}
            }
        }
        for (_, request) in rig.sent.iter().skip(before) {
            let cseq = request.cseq().unwrap();
            if cseq.method != Method::Ack {
                let tag = request.to_tag().unwrap_or_default().to_owned();
                let last = self.number.insert(tag, cseq.number);
                assert!(last < Some(cseq.number), "{} after {last:?}", cseq.number);
            }
        }
        assert_eq!(self.released, rig.session.is_over());
        if rig.session.is_established() {
            assert!(self.established && !self.ended);
        }
    }
}

fn play(mut rig: Rig, steps: Vec<Step>) {
    let mut said = Said::default();
    rig.world.config.idle = Duration::from_secs(100);
    for step in steps {
        let established = rig.session.is_established();
        let Rig { world, session, .. } = &mut rig;
        match step {
            Step::Say => {
                let said = session.message(&[], ("text/plain", b"hi"), &mut world.cx());
                assert_eq!(said.is_ok(), established);
            }
            Step::Type => drop(session.info(&[], ("a/b", b"x"), &mut world.cx())),
            Step::End => session.end(&mut world.cx()),
            Step::Answer(back, status) => {
                let Some((serial, request)) = rig.sent.iter().rev().nth(back).cloned() else { continue };
                let extra = [CONTACT, ("Min-SE", "300"), ("Session-Expires", "200;refresher=uac")];
                let response = response(&request, status, "fe1", &extra, OFFER);
                rig.session.response(serial, &response, &mut rig.world.cx());
            }
            Step::Fail(back, why) => {
                let why = [Undelivered::NotSent, Undelivered::Lost, Undelivered::Timeout][usize::from(why)];
                let Some((serial, _)) = rig.sent.iter().rev().nth(back).cloned() else { continue };
                rig.session.failed(serial, why, &mut rig.world.cx());
            }
            Step::Early(status, same) => {
                let Some((_, request)) = rig.sent.first().cloned() else { continue };
                if request.method() == Method::Invite {
                    let tag = if same { "fe1" } else { "fork" };
                    let response = response(&request, status, tag, &[CONTACT], OFFER);
                    rig.session.early(&response, &mut rig.world.cx());
                }
            }
            Step::Request(method, body) => {
                rig.cseq += 1;
                let request =
                    rig.inside(method, rig.cseq, &["Supported: timer"], if body { OFFER } else { "" });
                let _ = rig.session.request(&request, &mut rig.world.cx());
            }
            Step::Ack(body) => {
                let ack = rig.inside("ACK", rig.cseq, &[], if body { OFFER } else { "" });
                rig.session.acknowledged(&ack, &mut rig.world.cx());
            }
            Step::Wait(millis) => {
                rig.world.now += Duration::from_millis(millis);
                rig.session.handle_timeout(&mut rig.world.cx());
            }
            Step::Due => due(&mut rig),
        }
        said.check(&mut rig);
    }
    // Left alone, it ends.
    for _ in 0..1_000 {
        due(&mut rig);
        said.check(&mut rig);
    }
    assert!(rig.session.is_over() && rig.session.deadline().is_none());
    assert!(said.ended && said.released);
}

pub(super) fn due(rig: &mut Rig) {
    let Some(deadline) = rig.session.deadline() else { return };
    rig.world.now = rig.world.now.max(deadline);
    rig.session.handle_timeout(&mut rig.world.cx());
    assert!(
        rig.session.deadline().is_none_or(|next| next > rig.world.now),
        "nothing was done about {deadline:?}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_session_that_we_begin(steps in steps()) {
        play(Rig::inviting(), steps);
    }

    #[test]
    fn a_session_that_they_begin(steps in steps()) {
        play(Rig::invited_with(&["Supported: timer", "Session-Expires: 120"]).0, steps);
    }
}
