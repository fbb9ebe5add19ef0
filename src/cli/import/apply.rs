//! The running gateway takes the plan over.

use std::fmt::Write as _;
use std::process::ExitCode;

use axum::http::Method;
use serde_json::{Value, json};

use crate::cli::client::{Failed, Gateway, Said, changes, finish, is_as_it_was, pretty};
use crate::import::lync::{LimitEntry, Plan};

/// What the gateway is asked for.
struct Order {
    method: Method,
    path: &'static str,
    body: Value,
    /// What it is about, for people.
    what: &'static str,
}

/// `there`: partners of the export that it has already.
pub(super) fn apply(
    plan: &Plan,
    (words, there): (&str, &[&str]),
    as_json: bool,
    gateway: &Gateway,
) -> ExitCode {
    let done =
        finish(applied(plan, (words, there), as_json, gateway).map_err(|failed| failed.in_json(as_json)));
    // What is not on the disk is the worse of the two.
    if plan.is_whole() || done != ExitCode::SUCCESS { done } else { ExitCode::FAILURE }
}

fn applied(
    plan: &Plan,
    (words, there): (&str, &[&str]),
    as_json: bool,
    gateway: &Gateway,
) -> Result<Said, Failed> {
    let orders = orders(plan)?;
    // Nothing is done of it unless all of it can be.
    for order in &orders {
        gateway.ask(order.method.clone(), &format!("{}?dry_run=true", order.path), Some(&order.body))?;
    }
    let mut answers = Vec::new();
    for order in &orders {
        answers.push(gateway.ask(order.method.clone(), order.path, Some(&order.body))?);
    }
    let unsaved = answers.iter().find(|answer| answer.get("saved") == Some(&json!(false)));
    let said = |text: String| Said::after(unsaved.unwrap_or(&Value::Null), text);
    if as_json {
        let of = |what| orders.iter().position(|order| order.what == what).and_then(|at| answers.get(at));
        let applied = json!({ "policy": of(POLICY), "partners": of(PARTNERS), "configured": there });
        return Ok(said(pretty(&json!({ "plan": plan, "applied": applied }))));
    }
    let mut out = format!("{words}\nApplied to the running gateway:\n");
    for (order, answer) in orders.iter().zip(&answers) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{}", order.what);
        let same = is_as_it_was(answer);
        out.push_str(if same { "  it was so already\n" } else { "" });
        out.push_str(&changes(answer));
    }
    if orders.is_empty() {
        out.push_str("  nothing: there is neither a new partner nor a policy\n");
    }
    if let Some(warning) = plan.warning() {
        let _ = writeln!(out, "{warning}");
    }
    if !there.is_empty() {
        let _ = writeln!(out, "Not touched, for it has them already: {}", there.join(", "));
    }
    if !plan.limits.is_empty() {
        out.push_str(
            "\nLimits are in the configuration file only. Put these there, and restart:\n[limits]\n",
        );
        plan.limits.iter().map(LimitEntry::line).for_each(|line| out.push_str(&format!("{line}\n")));
    }
    Ok(said(out))
}

const POLICY: &str = "policy";
const PARTNERS: &str = "partners";

/// The policy first: nobody talks to a new partner who is not to.
fn orders(plan: &Plan) -> Result<Vec<Order>, Failed> {
    let mut orders = Vec::new();
    if let Some(policy) = plan.policy {
        let body = json!({ "default": policy.default });
        orders.push(Order { method: Method::PATCH, path: "/v1/policies/global", body, what: POLICY });
    }
    if !plan.partners.is_empty() {
        let entries: Result<Vec<Value>, _> =
            plan.partners.iter().map(|partner| serde_json::to_value(&partner.entry)).collect();
        let entries = entries.map_err(|error| Failed::new(format!("the plan cannot be written: {error}")))?;
        let body = json!({ "entries": entries, "prune": false });
        orders.push(Order { method: Method::POST, path: "/v1/apply/partners", body, what: PARTNERS });
    }
    Ok(orders)
}
