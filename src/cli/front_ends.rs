//! `nuncio check front-ends`

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::ExitCode;

use super::check::records;
use super::{ConfigArguments, complain, load};
use crate::config::{Config, Family, FrontEnd, HostPort, Lookup, NextHop};
use crate::dns::{self, Dns, DnsConfig, DnsError, SipLookup, host_candidates, sip_targets};

pub(super) fn run(arguments: &ConfigArguments, environment: Vec<(OsString, OsString)>) -> ExitCode {
    let config = match load(&arguments.sources(environment)) {
        Ok((config, _)) => config,
        Err(report) => {
            complain(&report);
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("nuncio: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(ask(&config)) {
        Ok(Answer { text, all_found }) => match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) if all_found => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        },
        Err(error) => {
            eprintln!("nuncio: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What DNS says, for people.
struct Answer {
    text: String,
    /// Every front end has a host with an address.
    all_found: bool,
}

async fn ask(config: &Config) -> Result<Answer, DnsError> {
    let servers = config.dns.servers.clone().unwrap_or_default();
    let dns = Dns::new(&DnsConfig { servers, timeout: config.dns.timeout })?;
    let family = match config.sip.connect.family {
        Family::Any => dns::Family::Any,
        Family::Ipv4 => dns::Family::Ipv4,
        Family::Ipv6 => dns::Family::Ipv6,
    };
    let mut answer = Answer { text: String::new(), all_found: true };
    for front_end in &config.sip.front_ends {
        // Writing to a String cannot fail.
        let _ = writeln!(answer.text, "front end {}", front_end.name);
        let mut found = false;
        for next_hop in &front_end.next_hops {
            match next_hop {
                NextHop::At(HostPort { host, port }) => {
                    found |= addresses(&dns, &host.to_string(), *port, family, &mut answer.text).await;
                }
                NextHop::Of(domain) => {
                    found |= hosts(&dns, domain.as_str(), front_end.lookup, family, &mut answer.text).await;
                }
            }
        }
        let _ = writeln!(answer.text, "  its certificates have to carry {}\n", names(front_end));
        answer.all_found &= found;
    }
    Ok(answer)
}

/// The hosts of a domain; whether one of them has an address.
async fn hosts(dns: &Dns, domain: &str, lookup: Lookup, family: dns::Family, text: &mut String) -> bool {
    let _ = writeln!(text, "  {domain} is looked up by {}", records(lookup));
    let how = match lookup {
        Lookup::Sip => SipLookup::Sip,
        Lookup::Federation => SipLookup::Federation,
    };
    match sip_targets(dns, domain, how, rand::random(), None).await {
        Ok(targets) => {
            for line in &targets.evidence {
                let _ = writeln!(text, "    {line}");
            }
            let mut found = false;
            for target in &targets.targets {
                found |= addresses(dns, &target.host, target.port, family, text).await;
            }
            found
        }
        Err(error) => {
            let _ = writeln!(text, "    ERROR {error}");
            false
        }
    }
}

/// The addresses of a host; whether there are any.
async fn addresses(dns: &Dns, host: &str, port: u16, family: dns::Family, text: &mut String) -> bool {
    let (said, found) = match host_candidates(dns, host, port, family).await {
        Ok(candidates) => {
            let list: Vec<_> =
                candidates.iter().map(|candidate| candidate.address.ip().to_string()).collect();
            (list.join(", "), true)
        }
        Err(error) => (format!("ERROR {error}"), false),
    };
    let verb = if found { "is at " } else { "" };
    let _ = writeln!(text, "  {host}:{port} {verb}{said}");
    found
}

fn names(front_end: &FrontEnd) -> String {
    match front_end.certificate_names.as_slice() {
        [] => "the name of the host".to_owned(),
        names => names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
    }
}
