//! Certificates on an installed machine, where the gateway may not write what it reads: its own user, `/etc` read-only, and keys,
//! if root likes, as copies. Root's commands do it, and the listeners show what they have done.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nuncio_world::pki::Pki;

use super::configure;
use super::machine::{Done, Machine};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// Starts the gateway, or says why it does not.
const START: &str = "systemctl start nuncio || { cat /var/log/systemctl-stand-in/nuncio.log; exit 1; }";

/// The serial number of what is shown to who asks for contoso.com.
fn shown(machine: &Machine) -> Result<String> {
    machine.must(
        "openssl s_client -connect 127.0.0.1:5269 -starttls xmpp-server -xmpphost contoso.com </dev/null 2>/dev/null \
         | openssl x509 -noout -serial",
    )
}

fn serial(machine: &Machine, file: &str) -> Result<String> {
    machine.must(&format!("openssl x509 -noout -serial -in {file}"))
}

/// The CA signs the request at `request`, and what it sends is at `sent`.
fn sign(machine: &Machine, pki: &Pki, folder: &Path, request: &str, sent: &str) -> Result<()> {
    let (asked, signed) = (folder.join("asked.csr"), folder.join("signed.crt"));
    fs::write(&asked, machine.must(&format!("cat {request}"))?)?;
    let output = Command::new("openssl")
        .args(["x509", "-req", "-days", "397", "-copy_extensions", "copy", "-in"])
        .arg(&asked)
        .arg("-CA")
        .arg(pki.roots_file())
        .arg("-CAkey")
        .arg(pki.root_key_file())
        .arg("-out")
        .arg(&signed)
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    machine.put(&signed, sent)
}

#[test]
fn root_asks_for_a_certificate_takes_it_in_and_puts_it_in_use_while_the_gateway_runs() -> Result<()> {
    let machine = Machine::installed()?;
    let (folder, pki) = configure(&machine)?;
    machine.must(START)?;
    let before = shown(&machine)?;
    ensure!(before == serial(&machine, "/etc/nuncio/contoso.pem")?);

    // The gateway is asked first, and says why it is not the one.
    let said = machine.must("nuncio cert request --for xmpp --organisation 'Contoso Ltd' --country GB")?;
    ensure!(said.contains("the gateway itself may not write to /etc/nuncio"), "{said}");
    ensure!(said.contains("contoso.com                      partners look for it"), "{said}");
    sign(&machine, &pki, folder.path(), "/etc/nuncio/contoso.pem.csr", "/root/contoso.crt")?;
    let said = machine.must("nuncio cert import /root/contoso.crt")?;
    ensure!(said.contains("It is kept ready"), "{said}");
    ensure!(shown(&machine)? == before, "nobody has put it in use");
    let said = machine.must("nuncio cert assign --for xmpp")?;
    ensure!(said.contains("127.0.0.1:5269 shows it to who asks for contoso.com"), "{said}");
    let new = serial(&machine, "/root/contoso.crt")?;
    ensure!(shown(&machine)? == new && new != before, "{new}");
    let said = machine.must("nuncio cert show")?;
    ensure!(said.contains("Done by the running gateway"), "{said}");
    let number = new.trim().trim_start_matches("serial=").to_lowercase();
    ensure!(said.to_lowercase().replace(':', "").contains(&number), "{number} in {said}");
    let modes = machine.must("cd /etc/nuncio && stat -c '%A %U:%G %n' contoso.pem contoso.key")?;
    ensure!(
        modes == "-rw-r--r-- root:nuncio contoso.pem\n-rw-r----- root:nuncio contoso.key\n",
        "the gateway has to be able to read them at its next start, and nobody else: {modes}"
    );

    let said = machine.must("nuncio cert assign --undo --for xmpp")?;
    ensure!(said.contains("shows it to who asks for contoso.com"), "{said}");
    ensure!(shown(&machine)? == before);
    machine.must("systemctl restart nuncio")?;
    ensure!(shown(&machine)? == before);
    Ok(())
}

/// The page's own line, as certbot would run it.
#[test]
fn the_deploy_hook_of_an_acme_client_has_the_running_gateway_show_what_was_renewed() -> Result<()> {
    let machine = Machine::installed()?;
    let (_folder, pki) = configure(&machine)?;
    machine.must(START)?;
    let before = shown(&machine)?;
    let mut lines = OPERATIONS.lines().map(str::trim);
    let hook = lines.find(|line| line.starts_with("nuncio cert import --assign")).context("no hook")?;
    let renewed = pki.good("renewed", &["contoso.com"])?;
    machine.must("mkdir -p /etc/letsencrypt/live/contoso.com /etc/letsencrypt/renewal-hooks/deploy")?;
    let lineage = "/etc/letsencrypt/live/contoso.com";
    machine.put(&renewed.certificate_file, &format!("{lineage}/fullchain.pem"))?;
    machine.put(&renewed.key_file, &format!("{lineage}/privkey.pem"))?;
    let file = "/etc/letsencrypt/renewal-hooks/deploy/nuncio";
    machine.must(&format!(
        "printf '%s\\n' '#!/bin/sh' 'set -e' '{hook}' > {file}; cat {file}; chmod +x {file}"
    ))?;
    machine.must(&format!("RENEWED_LINEAGE={lineage} {file}"))?;
    let now = shown(&machine)?;
    ensure!(now != before && now == serial(&machine, &format!("{lineage}/fullchain.pem"))?, "{now}");

    // What peers would refuse fails loudly, and changes nothing.
    let other = pki.good("other", &["litware.com"])?;
    machine.put(&other.certificate_file, &format!("{lineage}/fullchain.pem"))?;
    machine.put(&other.key_file, &format!("{lineage}/privkey.pem"))?;
    let Done { code, said } = machine.run(&format!("RENEWED_LINEAGE={lineage} {file}"))?;
    ensure!(code == Some(1), "{said}");
    ensure!(shown(&machine)? == now);
    Ok(())
}

#[test]
fn a_key_that_is_handed_over_is_replaced_where_root_keeps_it_and_in_use_after_a_restart() -> Result<()> {
    let machine = Machine::installed()?;
    let (folder, pki) = configure(&machine)?;
    machine.must("cd /etc/nuncio && mv contoso.key keys/ && chown root:root keys/* && chmod 600 keys/*")?;
    machine.must(
        "sed -i 's|\"/etc/nuncio/contoso.key\"|\"${CREDENTIALS_DIRECTORY}/keys_contoso.key\"|' /etc/nuncio/nuncio.toml",
    )?;
    // Root sees what is handed over, before there is anybody to hand it to.
    let said = machine.must("nuncio check config && nuncio check certs")?;
    ensure!(said.contains("it is for contoso.com"), "{said}");
    machine.must(START)?;
    let before = shown(&machine)?;

    let said = machine.must("nuncio cert request --for xmpp")?;
    ensure!(said.contains("is in /etc/nuncio/keys/contoso.key.new"), "{said}");
    sign(&machine, &pki, folder.path(), "/etc/nuncio/contoso.pem.csr", "/root/contoso.crt")?;
    let said = machine.must("nuncio cert import --assign /root/contoso.crt")?;
    ensure!(said.contains("systemctl restart nuncio"), "it has to say what is left to do: {said}");
    ensure!(shown(&machine)? == before, "the gateway has the old key");
    let modes = machine.must("cd /etc/nuncio/keys && stat -c '%A %U:%G %n' *")?;
    ensure!(modes.lines().all(|line| line.starts_with("-rw------- root:root ")), "{modes}");
    machine.must("systemctl restart nuncio")?;
    let new = serial(&machine, "/root/contoso.crt")?;
    ensure!(shown(&machine)? == new && new != before, "{new}");
    Ok(())
}

/// Which file another credential is a copy of only the unit knows.
#[test]
fn a_credential_of_another_unit_is_asked_for_by_its_folder() -> Result<()> {
    let machine = Machine::installed()?;
    configure(&machine)?;
    machine.must(
        "sed -i 's|\"/etc/nuncio/contoso.key\"|\"${CREDENTIALS_DIRECTORY}/tpm\"|' /etc/nuncio/nuncio.toml",
    )?;
    let Done { code, said } = machine.run("nuncio cert request --for xmpp")?;
    ensure!(code == Some(1) && said.contains("CREDENTIALS_DIRECTORY=FOLDER nuncio cert"), "{said}");
    machine.must("mkdir /root/tpm")?;
    let said = machine.must("CREDENTIALS_DIRECTORY=/root/tpm nuncio cert request --for xmpp")?;
    ensure!(said.contains("is in /root/tpm/tpm.new"), "{said}");
    Ok(())
}
