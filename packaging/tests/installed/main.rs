//! The package, installed: what it holds, what it makes, what it starts and what it leaves behind.

mod certificates;
#[path = "../machine/mod.rs"]
mod machine;

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Result, ensure};
use machine::{Done, Machine};
use nuncio_world::pki::Pki;
use tempfile::TempDir;

/// The package, built once for all tests.
static PACKAGE: LazyLock<PathBuf> = LazyLock::new(|| {
    let built = machine::build_package().unwrap();
    assert_eq!(built, machine::package().unwrap());
    built
});

impl Machine {
    /// A machine with the package, in a network of its own.
    fn installed() -> Result<Self> {
        let machine = Self::new(true)?;
        machine.put(&PACKAGE, "/root/nuncio.deb")?;
        machine.must("dpkg --install /root/nuncio.deb")?;
        Ok(machine)
    }
}

#[test]
fn the_package_holds_program_unit_man_pages_completions_and_example() -> Result<()> {
    let output = Command::new("dpkg-deb").arg("--contents").arg(&*PACKAGE).output()?;
    let contents = String::from_utf8(output.stdout)?;
    for (mode, path) in [
        ("-rwxr-xr-x", "/usr/bin/nuncio\n"),
        ("-rw-r--r--", "/systemd/system/nuncio.service\n"),
        ("-rw-r--r--", "/systemd/system/nuncio-sip.socket\n"),
        ("-rw-r--r--", "/systemd/system/nuncio-xmpp.socket\n"),
        ("-rw-r--r--", "/usr/share/man/man1/nuncio.1.gz\n"),
        ("-rw-r--r--", "/usr/share/man/man1/nuncio-check-config.1.gz\n"),
        ("-rw-r--r--", "/usr/share/bash-completion/completions/nuncio\n"),
        ("-rw-r--r--", "/usr/share/zsh/vendor-completions/_nuncio\n"),
        ("-rw-r--r--", "/usr/share/fish/vendor_completions.d/nuncio.fish\n"),
        ("-rw-r--r--", "/usr/share/nuncio/nuncio.toml\n"),
        ("-rw-r--r--", "/usr/share/doc/nuncio/docs/operations.md"),
        ("-rw-r--r--", "/usr/share/doc/nuncio/docs/quickstart.md"),
        ("-rw-r--r--", "/usr/share/doc/nuncio/docs/monitoring/alerts.yml"),
    ] {
        let line = contents.lines().find(|line| format!("{line}\n").contains(path));
        ensure!(
            line.is_some_and(|line| line.starts_with(mode)),
            "{path} with {mode}: {line:?} in\n{contents}"
        );
    }
    let of_root = |line: &str| line.contains(" root/root ") || line.contains(" 0/0 ");
    ensure!(contents.lines().all(of_root), "{contents}");
    Ok(())
}

#[test]
fn the_first_installation_makes_user_groups_folders_and_a_configuration_and_starts_nothing() -> Result<()> {
    let machine = Machine::installed()?;
    let user = machine.must("getent passwd nuncio")?;
    ensure!(user.contains(":/var/lib/nuncio:") && user.trim().ends_with("/nologin"), "{user}");
    machine.must("getent group nuncio nuncio-admin nuncio-viewer")?;
    let modes = machine.must(
        "stat -c '%A %U:%G %n' /etc/nuncio /etc/nuncio/keys /etc/nuncio/nuncio.toml /var/lib/nuncio /usr/bin/nuncio",
    )?;
    let expected = "\
drwxr-x--- root:nuncio /etc/nuncio
drwx------ root:root /etc/nuncio/keys
-rw-r----- root:nuncio /etc/nuncio/nuncio.toml
drwx------ nuncio:nuncio /var/lib/nuncio
-rwxr-xr-x root:root /usr/bin/nuncio
";
    ensure!(modes == expected, "{modes}");
    machine.must("cmp /etc/nuncio/nuncio.toml /usr/share/nuncio/nuncio.toml")?;
    let Done { code, said } = machine.run("systemctl is-active nuncio")?;
    ensure!(code == Some(3), "{said}");
    Ok(())
}

#[test]
fn the_units_are_in_order_and_leave_little_exposed() -> Result<()> {
    let machine = Machine::installed()?;
    let analyze = |what: &str| {
        machine.run(&format!("cd $(dirname $(dpkg -L nuncio | grep nuncio.service$)) && {what}"))
    };
    let verified =
        analyze("systemd-analyze verify ./nuncio.service ./nuncio-sip.socket ./nuncio-xmpp.socket")?;
    ensure!(verified.code == Some(0) && verified.said.is_empty(), "{verified:?}");
    // Of 10; 2 and more is called medium. In tenths.
    let secure =
        analyze("systemd-analyze security --offline=true --threshold=15 --no-pager ./nuncio.service")?;
    ensure!(secure.code == Some(0), "{}", secure.said);
    Ok(())
}

#[test]
fn every_man_page_is_clean_and_completions_are_read_by_their_shell() -> Result<()> {
    let machine = Machine::installed()?;
    let pages = machine.must("ls /usr/share/man/man1/nuncio*.1.gz")?;
    ensure!(pages.lines().count() > 5, "{pages}");
    for page in pages.lines() {
        let said = machine.must(&format!("zcat {page} | groff -k -man -Tutf8 -ww -rHY=0 2>&1 >/dev/null"))?;
        ensure!(said.is_empty(), "{page}: {said}");
    }
    machine.must("bash -n /usr/share/bash-completion/completions/nuncio")?;
    Ok(())
}

/// A configuration that loads, with certificates of our own CA, which is in this folder.
fn configure(machine: &Machine) -> Result<(TempDir, Pki)> {
    let folder = tempfile::tempdir()?;
    let pki = Pki::new(folder.path())?;
    pki.good("sip", &["nuncio.contoso.com"])?;
    pki.good("contoso", &["contoso.com"])?;
    for name in ["sip.pem", "sip.key", "contoso.pem", "contoso.key", "roots.pem"] {
        let text = std::fs::read_to_string(folder.path().join(name))?;
        let to = if name == "roots.pem" { "sip-roots.pem" } else { name };
        machine.must(&format!(
            "umask 027; cat > /etc/nuncio/{to} <<'END'\n{text}END\nchgrp nuncio /etc/nuncio/{to}"
        ))?;
    }
    Ok((folder, pki))
}

#[test]
fn it_runs_as_its_unit_says_and_is_reloaded_and_stopped() -> Result<()> {
    let machine = Machine::installed()?;
    configure(&machine)?;
    machine.must("setpriv --reuid=nuncio --regid=nuncio --clear-groups nuncio check config")?;
    machine
        .must("systemctl enable --now nuncio || { cat /var/log/systemctl-stand-in/nuncio.log; exit 1; }")?;
    let pid = "$(cat /run/systemctl-stand-in/nuncio.pid)";
    let status = machine.must(&format!("cat /proc/{pid}/status; cat /proc/{pid}/limits"))?;
    let uid = machine.must("id -u nuncio")?.trim().to_owned();
    let line = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    ensure!(line("Uid:") == format!("Uid: {uid} {uid} {uid} {uid}"), "{status}");
    ensure!(
        line("CapEff:") == "CapEff: 0000000000000000" && line("NoNewPrivs:") == "NoNewPrivs: 1",
        "{status}"
    );
    // Or as many as this machine has to give.
    let files = machine
        .must("n=$(ulimit -Hn); test $n != unlimited && test $n -lt 65536 && echo $n || echo 65536")?;
    ensure!(line("Max open files").starts_with(&format!("Max open files {}", files.trim())), "{status}");
    ensure!(line("Umask:") == "Umask: 0077", "{status}");
    // Connections are taken once `start` has returned.
    machine.must("bash -c '</dev/tcp/127.0.0.1/5061 && </dev/tcp/127.0.0.1/5269'")?;
    machine.must("test $(stat -c %U:%a /run/nuncio) = nuncio:755")?;
    machine.must("test -f /var/lib/nuncio/nuncio.db")?;
    machine.must("systemctl reload nuncio")?;
    machine
        .must("cp /etc/nuncio/nuncio.toml /tmp/good.toml; echo 'nonsense = 1' >> /etc/nuncio/nuncio.toml")?;
    let Done { code, said } = machine.run("systemctl reload nuncio")?;
    ensure!(code != Some(0) && said.contains("nonsense"), "it has to fail, with the reason: {said}");
    machine.must(
        "cp /tmp/good.toml /etc/nuncio/nuncio.toml; systemctl is-active nuncio; systemctl stop nuncio",
    )?;
    let heard = machine.must("cat /run/systemctl-stand-in/nuncio.heard")?;
    let words: Vec<&str> = heard.lines().filter(|line| ["READY=1", "STOPPING=1"].contains(line)).collect();
    ensure!(words.first() == Some(&"READY=1") && words.last() == Some(&"STOPPING=1"), "{heard}");
    let Done { code, .. } = machine.run("systemctl is-active nuncio")?;
    ensure!(code == Some(3));
    Ok(())
}

#[test]
fn a_key_that_only_root_may_read_is_handed_over() -> Result<()> {
    let machine = Machine::installed()?;
    configure(&machine)?;
    machine.must(
        "cd /etc/nuncio && mv sip.key contoso.key keys/ && chown root:root keys/* && chmod 600 keys/*",
    )?;
    machine.must(
        "sed -i -E 's|\"/etc/nuncio/(sip\\|contoso).key\"|\"${CREDENTIALS_DIRECTORY}/keys_\\1.key\"|' /etc/nuncio/nuncio.toml",
    )?;
    let refused =
        machine.run("setpriv --reuid=nuncio --regid=nuncio --clear-groups cat /etc/nuncio/keys/sip.key")?;
    ensure!(refused.code != Some(0), "anybody may read the key");
    machine.must("systemctl start nuncio || { cat /var/log/systemctl-stand-in/nuncio.log; exit 1; }")?;
    machine.must("bash -c '</dev/tcp/127.0.0.1/5269'")?;
    Ok(())
}

#[test]
fn a_configuration_that_cannot_be_used_fails_the_start_with_the_reason_in_the_log() -> Result<()> {
    let machine = Machine::installed()?;
    let Done { code, said } = machine.run("systemctl start nuncio")?;
    ensure!(code == Some(1) && said.contains("failed"), "{said}");
    let log = machine.must("cat /var/log/systemctl-stand-in/nuncio.log")?;
    ensure!(log.contains("/etc/nuncio/sip.pem"), "{log}");
    Ok(())
}

/// A socket that listens for a program that is gone would be a port that is open for nobody.
#[test]
fn sockets_that_were_enabled_outlast_an_upgrade_and_go_with_the_package() -> Result<()> {
    let machine = Machine::installed()?;
    machine.must("systemctl enable nuncio-sip.socket && systemctl enable nuncio-xmpp.socket")?;
    let links = "/etc/systemd/system/sockets.target.wants/nuncio-";
    let there = format!("test -L {links}sip.socket && test -L {links}xmpp.socket");
    machine.must(&there)?;
    machine.must("dpkg --install /root/nuncio.deb")?;
    machine.must(&there)?;
    machine.must("dpkg --remove nuncio")?;
    machine.must(&format!("! test -L {links}sip.socket && ! test -L {links}xmpp.socket"))?;
    Ok(())
}

#[test]
fn an_upgrade_keeps_what_was_configured_and_only_purging_takes_it() -> Result<()> {
    let machine = Machine::installed()?;
    machine.must(
        "echo '# mine' >> /etc/nuncio/nuncio.toml; touch /var/lib/nuncio/nuncio.db /etc/nuncio/keys/sip.key",
    )?;
    machine.must("dpkg --install /root/nuncio.deb")?;
    machine.must("tail -1 /etc/nuncio/nuncio.toml | grep -x '# mine'")?;
    machine.must("rm /etc/nuncio/nuncio.toml")?;
    machine.must("dpkg --install /root/nuncio.deb")?;
    let again = machine.run("test -e /etc/nuncio/nuncio.toml")?;
    ensure!(again.code == Some(1), "what the administrator removed came back");
    machine.must("cp /usr/share/nuncio/nuncio.toml /etc/nuncio/; dpkg --remove nuncio")?;
    machine.must(
        "test -f /etc/nuncio/nuncio.toml && test -f /var/lib/nuncio/nuncio.db && ! test -e /usr/bin/nuncio",
    )?;
    machine.must("dpkg --purge nuncio")?;
    machine.must(
        "! test -e /var/lib/nuncio && ! test -e /etc/nuncio/nuncio.toml && test -f /etc/nuncio/keys/sip.key",
    )?;
    machine.must("id nuncio")?;
    Ok(())
}
