//! Every way in which a real server may negotiate with the gateway, in both directions.
//!
//! Each line of the [table](table) has a partner domain of its own for each direction, so that no stream of one serves the
//! other. How a stream was authenticated, and whether what it carried was acknowledged, is the other server's word; why one was
//! refused is the gateway's, in what it remembers of its attempts.

mod offers;
mod page;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nuncio_world::World;
use nuncio_world::dns::Changes;
use nuncio_world::gateway::{Gateway, Partner, Settings};
use nuncio_world::pki::Credential;
use nuncio_world::sip_agent::{SipConnection, SipServer};
use nuncio_world::sip_text::SipMessage;
use nuncio_world::within;
use nuncio_world::witness::{Method, Way};
use nuncio_world::xmpp_client::XmppClient;
use nuncio_world::xmpp_server::{DIRECT_TLS, SERVERS, XmppServer};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::scene::{FRONT_END_SIP, calls_with, check_message, check_request, takes_all};
pub(crate) use offers::offers;
use page::Line;
use table::{Certificate, Expected, Row, Stance, TABLE};

const OURS: &str = "contoso.com";
/// Another domain of ours, whose certificate is for servers only.
const OURS_SERVER_ONLY: &str = "litware.com";
const TEXT: &str = "does this arrive?";
/// So many trials that are to get through take place at the same time: neither side of any of them is to be too busy.
const AT_A_TIME: usize = 12;
/// How often the gateway is asked which attempts there were.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The lines of the world's server; those of Direct TLS, which everybody prefers who sees it in DNS, have worlds of their
/// own.
pub(crate) async fn matrix(world: World) -> Result<()> {
    run(world, |row| !row.stance.setup().direct_tls).await
}

/// The lines of Direct TLS.
pub(crate) async fn matrix_direct_tls(world: World) -> Result<()> {
    run(world, |row| row.stance.setup().direct_tls).await
}

/// Which way a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToServer,
    FromServer,
}

/// One direction of one line.
struct Trial {
    row: Row,
    direction: Direction,
    /// The partner domain.
    domain: String,
    /// The SIP user.
    user: String,
}

impl Trial {
    fn expected(&self) -> Expected {
        match self.direction {
            Direction::ToServer => self.row.to_server,
            Direction::FromServer => self.row.from_server,
        }
    }
}

/// What came of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Observed {
    By(Method),
    Refused(String),
}

/// A trial with everybody who takes part.
struct Cast {
    trial: Trial,
    gateway_log: Arc<nuncio_world::process::Log>,
    server: Arc<XmppServer>,
    bob: XmppClient,
    calls: SipConnection,
    requests: mpsc::UnboundedReceiver<SipMessage>,
}

async fn run(world: World, chosen: impl Fn(&Row) -> bool) -> Result<()> {
    let brand = world.brand();
    let rows: Vec<Row> =
        TABLE.iter().filter(|row| row.brands.contains(&brand) && chosen(row)).copied().collect();
    let direct_tls = rows.iter().any(|row| row.stance.setup().direct_tls);
    let trials: Vec<Trial> = rows.iter().enumerate().flat_map(|(number, row)| trials(number, *row)).collect();
    let mut houses = Houses::new();
    for row in &rows {
        let next = u8::try_from(houses.len() + 1)?;
        houses.entry(row.stance).or_insert_with(|| IpAddr::from([127, 0, 1, next]));
    }
    let mut zone = String::new();
    for trial in &trials {
        let (domain, address) = (&trial.domain, houses[&trial.row.stance]);
        zone += &format!("host-record=xmpp.{domain},{address}\n");
        let (service, port) =
            if direct_tls { ("_xmpps-server", DIRECT_TLS) } else { ("_xmpp-server", SERVERS) };
        zone += &format!("srv-host={service}._tcp.{domain},xmpp.{domain},{port},0,0\n");
    }
    // The gateway takes Direct TLS on the same port.
    zone += &format!("srv-host=_xmpp-server._tcp.{OURS_SERVER_ONLY},nuncio.{OURS},{SERVERS},0,0\n");
    zone += &format!("srv-host=_xmpps-server._tcp.{OURS},nuncio.{OURS},{SERVERS},0,0\n");
    let without: &[&str] = if direct_tls { &["_xmpp-server._tcp.contoso.com"] } else { &[] };
    let more =
        if direct_tls { zone.as_str() } else { zone.rsplit_once("srv-host=_xmpps").unwrap_or_default().0 };
    world.change_dns(Changes { more, without }).await?;

    let mut gateway = start_gateway(&world, &trials).await?;
    let servers = start_servers(&world, &trials, &houses).await?;
    let mut version = String::new();
    let front_end = world.pki().good("fe", &["fe.contoso.com"])?;
    let mut doors = BTreeMap::new();
    let mut casts = Vec::new();
    for trial in trials {
        let server = Arc::clone(&servers[&trial.row.stance]);
        let mut bob = server.user("bob", &trial.domain).await?;
        version = format!("{brand} {}", bob.server_version().await?.1);
        let (door, requests) = mpsc::unbounded_channel();
        doors.insert(format!("sip:{}", trial.user), door);
        let calls = calls_with(&world, Some(&front_end)).await?;
        casts.push(Cast { trial, gateway_log: gateway.log(), server, bob, calls, requests });
    }
    let _front_end = SipServer::listen(world.pki(), &front_end, FRONT_END_SIP, move |request| {
        let to = request.address("To").unwrap_or_default();
        if let Some(door) = doors.get(to) {
            door.send(request.clone()).ok();
        }
        takes_all(request)
    })
    .await?;

    // What is to be refused takes its time, and is tried again all the while: it begins when the others are done.
    let (through, refused): (Vec<_>, Vec<_>) =
        casts.into_iter().enumerate().partition(|(_, cast)| cast.trial.expected().refusal().is_none());
    let all = refused.len();
    let mut played = play_all(&mut gateway, through, AT_A_TIME).await?;
    played.extend(play_all(&mut gateway, refused, all).await?);
    let mut outcomes = BTreeMap::new();
    let mut wrong = Vec::new();
    for (number, outcome) in played {
        match outcome {
            Ok(outcome) => _ = outcomes.insert(number, outcome),
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    ensure!(wrong.is_empty(), "{} are not as expected:\n{}", wrong.len(), wrong.join("\n"));
    let mut results = Vec::new();
    for (cast, observed) in outcomes.into_values() {
        results.push(observed.clone());
        cast.nothing_more(&observed).await?;
    }
    gateway.still_runs()?;
    let lines: Vec<Line<'_>> =
        rows.iter().zip(results.chunks(2)).map(|(row, results)| Line { row, results }).collect();
    let section = if direct_tls { format!("{brand}, Direct TLS") } else { brand.to_string() };
    page::compare(&section, &version, &page::table(&lines))
}

/// A trial's number, and what came of it.
type Played = (usize, Result<(Cast, Observed)>);

/// Plays the trials, so many at a time, and has the gateway say what it knows meanwhile.
async fn play_all(gateway: &mut Gateway, casts: Vec<(usize, Cast)>, at_a_time: usize) -> Result<Vec<Played>> {
    let mut casts = casts.into_iter();
    let mut playing = JoinSet::new();
    let mut played = Vec::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        for (number, cast) in casts.by_ref().take(at_a_time.saturating_sub(playing.len())) {
            playing.spawn(async move { (number, play(cast).await) });
        }
        tokio::select! {
            next = playing.join_next() => match next {
                Some(next) => played.push(next?),
                None => return Ok(played),
            },
            _ = looks.tick() => gateway.write_status().await?,
        }
    }
}

/// The domain of ours that a line is about.
fn ours(row: &Row) -> &'static str {
    if row.stance == Stance::OursServerOnly { OURS_SERVER_ONLY } else { OURS }
}

fn trials(number: usize, row: Row) -> [Trial; 2] {
    let trial = |direction, word: &str| {
        let domain = format!("{word}-{number}.example");
        Trial { row, direction, domain, user: format!("{word}-{number}@{}", ours(&row)) }
    };
    [trial(Direction::ToServer, "to"), trial(Direction::FromServer, "from")]
}

async fn start_gateway(world: &World, trials: &[Trial]) -> Result<Gateway> {
    let keys: Vec<String> = trials.iter().map(|trial| trial.row.entry.keys()).collect();
    let partners = trials
        .iter()
        .zip(&keys)
        .map(|(trial, keys)| Partner { domain: &trial.domain, kind: "federated", keys })
        .collect();
    // Everybody comes from the same address at the same time. A refusal need not take long; a busy machine has to get
    // through the negotiation of a hundred streams in that time.
    let limits = "xmpp.hold = \"8s\"\nxmpp.establishment = \"8s\"\nxmpp.unauthenticated_per_address = 256\n\
                  sip.unauthenticated_per_address = 256";
    let log_level = "info,nuncio::xmpp_frontend=debug";
    let server_only = &[OURS_SERVER_ONLY];
    let settings = Settings { partners, limits, log_level, server_only, ..Settings::default() };
    Gateway::start(world, &settings).await
}

/// Where the servers are.
type Houses = BTreeMap<Stance, IpAddr>;
type Servers = BTreeMap<Stance, Arc<XmppServer>>;

async fn start_servers(world: &World, trials: &[Trial], houses: &Houses) -> Result<Servers> {
    let mut starting = JoinSet::new();
    let brand = world.brand();
    for (&stance, &address) in houses {
        let mut domains: Vec<(String, Credential)> = Vec::new();
        for trial in trials.iter().filter(|trial| trial.row.stance == stance) {
            let (domain, certificate) = (&trial.domain, trial.row.certificate);
            let elsewhere = format!("not-{domain}");
            let name = if certificate == Certificate::WrongName { &elsewhere } else { domain };
            let (usage, flaw) = (certificate.usage(), certificate.flaw());
            domains.push((domain.clone(), world.pki().issue(domain, &[name], usage, flaw)?));
        }
        let world = world.clone();
        starting.spawn(async move {
            let domains: Vec<(&str, &Credential)> =
                domains.iter().map(|(domain, credential)| (domain.as_str(), credential)).collect();
            let name = format!("{brand}-{stance:?}").to_lowercase();
            let server =
                XmppServer::start(&world, brand, (&name, address), &domains, &stance.setup()).await?;
            anyhow::Ok((stance, Arc::new(server)))
        });
    }
    let mut servers = BTreeMap::new();
    while let Some(started) = starting.join_next().await {
        let (stance, server) = started??;
        servers.insert(stance, server);
    }
    Ok(servers)
}

/// Sends the message of a trial, and finds out what came of it.
async fn play(mut cast: Cast) -> Result<(Cast, Observed)> {
    let observed = match cast.trial.direction {
        Direction::ToServer => cast.sip_user_writes().await,
        Direction::FromServer => cast.contact_writes().await,
    };
    let Trial { row, direction, domain, .. } = &cast.trial;
    let observed = observed.with_context(|| format!("{domain} {direction:?} {row:?}"))?;
    let as_expected = match (&observed, cast.trial.expected()) {
        (Observed::By(method), Expected::By(expected)) => *method == expected,
        (Observed::Refused(why), expected) => {
            expected.refusal().is_some_and(|expected| why.contains(expected))
        }
        _ => false,
    };
    ensure!(as_expected, "{domain} {direction:?}: {observed:?} but {row:?}");
    Ok((cast, observed))
}

impl Cast {
    async fn sip_user_writes(&mut self) -> Result<Observed> {
        let bob = format!("bob@{}", self.trial.domain);
        let call = self.calls.send_message(&self.trial.user, &bob, TEXT).await?;
        let answer = self.calls.final_answer(&call).await?;
        if answer.status() == Some(200) {
            check_message(&self.bob.next_message().await?, &self.trial.user, &bob, TEXT)?;
            let stance = self.trial.row.stance;
            if stance.acknowledges() {
                self.server.acknowledged(self.way()).await?;
            }
            if stance.goes_both_ways() {
                self.bob.send_message(&self.trial.user, TEXT).await?;
                self.contact_heard().await?;
                return self.went_both_ways("outbound", "inbound").await;
            }
            return Ok(Observed::By(self.server.authenticated(self.way()).await?));
        }
        let attempt = format!("{} to {}: no stream", ours(&self.trial.row), self.trial.domain);
        Ok(Observed::Refused(self.gateway_log.line_with(&["status: attempt: ", &attempt]).await?))
    }

    async fn contact_writes(&mut self) -> Result<Observed> {
        self.bob.send_message(&self.trial.user, TEXT).await?;
        let Some(why) = self.trial.expected().refusal() else {
            self.contact_heard().await?;
            let stance = self.trial.row.stance;
            if stance.acknowledges() {
                // Prosody's first message goes before it has enabled stream management, and is not counted.
                self.server.counts(self.way()).await?;
                self.bob.send_message(&self.trial.user, TEXT).await?;
                self.contact_heard().await?;
                self.server.acknowledged(self.way()).await?;
            }
            if stance.goes_both_ways() {
                let bob = format!("bob@{}", self.trial.domain);
                let call = self.calls.send_message(&self.trial.user, &bob, TEXT).await?;
                ensure!(self.calls.final_answer(&call).await?.status() == Some(200), "the reply was refused");
                check_message(&self.bob.next_message().await?, &self.trial.user, &bob, TEXT)?;
                return self.went_both_ways("inbound", "outbound").await;
            }
            return Ok(Observed::By(self.server.authenticated(self.way()).await?));
        };
        let from = format!(", {} at ", self.trial.domain);
        let to = format!(" to {}: no stream", ours(&self.trial.row));
        let refused = self.gateway_log.line_with(&["status: attempt: ", &from, &to, why]).await;
        let attempts = || self.gateway_log.lines_with(&["status: attempt: ", &from]).pop();
        refused.with_context(|| format!("the last attempt was {:?}", attempts())).map(Observed::Refused)
    }

    /// One stream carried the message and the answer: the server says which it was. By certificate it is the only one there
    /// is, the one that was opened. Prosody verifies a key on a stream on which it proves who it is as well, and which goes both
    /// ways too, so by dialback there may be two.
    async fn went_both_ways(&self, opened: &str, other: &str) -> Result<Observed> {
        let method = self.server.both_ways(&self.trial.domain).await?;
        let (log, partner) = (&self.gateway_log, format!("partner=\"{}\"", self.trial.domain));
        if method == Method::External {
            let line = log.line_with(&[&format!("{opened} stream established"), &partner]).await?;
            ensure!(line.contains("both_ways=true"), "{line}");
            let others = log.lines_with(&[&format!("{other} stream established"), &partner]);
            ensure!(others.is_empty(), "a stream for the answer: {others:?}");
        }
        let one_way = log.lines_with(&["stream established", &partner, "both_ways=false"]);
        ensure!(one_way.is_empty(), "{one_way:?}");
        Ok(Observed::By(method))
    }

    /// The contact's message at the front end.
    async fn contact_heard(&mut self) -> Result<()> {
        let request = within("the message at the front end", self.requests.recv()).await?;
        let request = request.context("the front end has ended")?;
        check_request(&request, &format!("bob@{}", self.trial.domain), &self.trial.user, TEXT)
    }

    /// Whatever came of it, that was all.
    async fn nothing_more(mut self, observed: &Observed) -> Result<()> {
        let domain = &self.trial.domain;
        ensure!(
            self.requests.try_recv().is_err(),
            "{domain}: more than one message, or one that was refused"
        );
        let more = self.bob.stanzas_before_ping("end").await?;
        let crossed = more.iter().any(|stanza| stanza.body().is_some() && stanza.condition().is_none());
        ensure!(!crossed, "{domain}: more than one message, or one that was refused: {more:?}");
        if let Observed::Refused(_) = observed {
            let method = self.server.has_authenticated(self.way());
            ensure!(method.is_none(), "{domain}: a stream by {method:?} all the same");
        }
        Ok(())
    }

    fn way(&self) -> Way<'_> {
        let (domain, ours) = (&self.trial.domain, ours(&self.trial.row));
        match self.trial.direction {
            Direction::ToServer => Way { from: ours, to: domain, outbound: false },
            Direction::FromServer => Way { from: domain, to: ours, outbound: true },
        }
    }
}
