//! A short run of everything: what is sent is answered and arrives. Times are not looked at.

use std::process::Command;

use serde_json::Value;

/// Messages of each measurement in quick mode.
const MESSAGES: u64 = 400;
/// Partners with idle streams in quick mode.
const IDLE: u64 = 40;

#[test]
fn every_message_is_answered_and_arrives() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("quick.json");
    let output = Command::new(env!("CARGO_BIN_EXE_nuncio-bench"))
        .args(["--quick", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let report: Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let lines = report["lines"].as_array().unwrap();
    for line in lines {
        let runs = line["runs"].as_array().unwrap();
        assert_eq!(runs.len(), 1, "{line}");
        for count in ["sent", "answered", "arrived"] {
            assert_eq!(runs[0][count], MESSAGES, "{count}: {line}");
        }
    }
    // Two relays and two directions, each with small and with large messages; and presence in both directions, with documents
    // of two kinds.
    let mut measured: Vec<String> = lines
        .iter()
        .map(|line| format!("{} {} {}", line["subject"], line["direction"], line["set"]).replace('"', ""))
        .collect();
    measured.sort();
    assert_eq!(
        measured,
        [
            "gateway sip-to-xmpp categories",
            "gateway sip-to-xmpp lync",
            "gateway sip-to-xmpp presence",
            "gateway sip-to-xmpp session",
            "gateway sip-to-xmpp small",
            "gateway xmpp-to-sip categories",
            "gateway xmpp-to-sip lync",
            "gateway xmpp-to-sip presence",
            "gateway xmpp-to-sip session",
            "gateway xmpp-to-sip small",
            "relay-acknowledged sip-to-xmpp lync",
            "relay-acknowledged sip-to-xmpp small",
            "relay-written sip-to-xmpp lync",
            "relay-written sip-to-xmpp small",
        ]
    );
    // Streams are opened both ways, with keys of both kinds, and a run counts only if all of them were.
    let handshakes: Vec<String> = report["handshakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            for run in [&line["gateway"][0], &line["bare"][0]] {
                assert!(run["handshakes"].as_u64() > Some(0), "{line}");
            }
            format!("{} {}", line["opened"], line["keys"]).replace('"', "")
        })
        .collect();
    assert_eq!(handshakes, ["inbound P-256", "outbound P-256", "inbound RSA-2048", "outbound RSA-2048"]);
    assert_eq!(report["idle_streams"]["partners"], IDLE);
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.matches("SIP → XMPP").count(), 3, "{table}");
    assert_eq!(table.matches("NOTIFY → presence").count(), 2, "{table}");
}
