//! Who comes over the Unix socket is who the kernel says he is (SO_PEERCRED), and may do what his groups give him.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::unistd::geteuid;
use nuncio::control::{Role, endpoints};
use nuncio_world::process::Process;
use tokio::process::Command;

use crate::control_roles::example;
use crate::town::Town;

/// The gateway gets a database of users and groups of its own.
const MOUNT: &str =
    "mount --bind \"$0/passwd\" /etc/passwd && mount --bind \"$0/group\" /etc/group && exec \"$@\"";

const PASSWD: &str = "root:x:0:0::/root:/bin/sh
anna:x:7001:7001::/:/bin/sh
victor:x:7002:7002::/:/bin/sh
vera:x:7003:7101::/:/bin/sh
otto:x:7004:7004::/:/bin/sh
nobody:x:65534:65534::/:/bin/sh
";
const GROUP: &str = "root:x:0:
anna:x:7001:
victor:x:7002:
otto:x:7004:
nogroup:x:65534:
nuncio-admin:x:7100:anna
nuncio-viewer:x:7101:victor,anna
";

/// As whom a process runs: user, group, and the groups that it has besides.
#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
    besides: &'static str,
}

const fn user(uid: u32, gid: u32) -> User {
    User { uid, gid, besides: "" }
}

const ANNA: User = user(7001, 7001);
const VICTOR: User = user(7002, 7002);

/// Everybody there is, and what he may do.
const USERS: [(&str, User, Role); 8] = [
    ("root", user(0, 0), Role::Admin),
    ("a member of the group of admins, and of that of viewers", ANNA, Role::Admin),
    ("nobody's user with the group of admins, as a unit with Group= has", user(7005, 7100), Role::Admin),
    ("a member of the group of viewers", VICTOR, Role::Viewer),
    ("whose own group is that of viewers", user(7003, 7101), Role::Viewer),
    ("a member of no group", user(7004, 7004), Role::Anyone),
    ("whose process has the group of admins and who is no member of it", USURPER, Role::Anyone),
    ("nobody", user(65534, 65534), Role::Anyone),
];

/// What a process has besides may be somebody else's, who has handed the socket on (src/control/peer.rs).
const USURPER: User = User { uid: 7004, gid: 7004, besides: "7100" };

impl Town {
    /// The gateway with users and groups of its own. Only root can be somebody else for a test.
    async fn gateway_with_users(&self) -> Result<Process> {
        ensure!(geteuid().is_root(), "this test is for root: it sends requests as other users");
        fs::write(self.folder().join("passwd"), PASSWD)?;
        fs::write(self.folder().join("group"), GROUP)?;
        // The way to the socket; what else is there has modes of its own.
        fs::set_permissions(self.folder(), fs::Permissions::from_mode(0o711))?;
        let folder = self.folder().to_str().context("a path that is text")?;
        let starter = ["unshare", "--mount", "sh", "-c", MOUNT, folder];
        let mut gateway = self.start_by(&starter, "", &self.folder().join("state"))?;
        gateway.says("ready").await?;
        Ok(gateway)
    }
}

impl User {
    /// He asks all this, in one process; the status and the media type of each answer.
    async fn asks(self, socket: &Path, requests: &[(String, String)]) -> Result<Vec<(u16, String)>> {
        let mut command = Command::new("setpriv");
        command.arg(format!("--reuid={}", self.uid)).arg(format!("--regid={}", self.gid));
        match self.besides {
            "" => command.arg("--clear-groups"),
            groups => command.arg(format!("--groups={groups}")),
        };
        command.args(["--", "curl"]);
        for (number, (method, path)) in requests.iter().enumerate() {
            command
                .args((number > 0).then_some("--next"))
                .args(["--silent", "--show-error", "--max-time", "120", "--output", "/dev/null"])
                .args(["--write-out", "%{http_code} %{content_type}\n", "--request", method])
                .arg("--unix-socket")
                .arg(socket)
                .arg(format!("http://nuncio{path}"));
        }
        let output = command.current_dir("/").output().await?;
        let (said, failed) = (String::from_utf8(output.stdout)?, String::from_utf8_lossy(&output.stderr));
        let answers = said.lines().map(|line| {
            let (status, media_type) = line.split_once(' ').context("no status")?;
            Ok((status.parse()?, media_type.to_owned()))
        });
        let answers: Vec<_> = answers.collect::<Result<_>>()?;
        ensure!(answers.len() == requests.len(), "{} answers: {failed}", answers.len());
        Ok(answers)
    }

    /// The same, once.
    async fn ask(self, socket: &Path, method: &str, path: &str) -> Result<u16> {
        let answers = self.asks(socket, &[(method.to_owned(), path.to_owned())]).await?;
        answers.first().map(|(status, _)| *status).context("no answer")
    }
}

#[tokio::test]
async fn every_endpoint_refuses_on_the_socket_who_has_not_its_role_whoever_he_is() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway_with_users().await?;
    let endpoints = endpoints();
    let requests: Vec<_> =
        endpoints.iter().map(|one| (one.method.as_str().to_owned(), example(one.path))).collect();
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    for (who, user, role) in USERS {
        let answers = user.asks(&town.control(), &requests).await.context(who)?;
        for (endpoint, (status, media_type)) in endpoints.iter().zip(answers) {
            let what = format!("{} {} for {who}: {status}", endpoint.method, endpoint.path);
            // 401 would ask for a token, which is nothing here.
            ensure!(status != 401 && (status == 403) == (endpoint.role > role), "{what}");
            ensure!(status != 403 || media_type == "application/problem+json", "{what}: {media_type}");
            let is_plain_read = endpoint.method == "GET" && !endpoint.path.contains('{');
            ensure!(status == 403 || !is_plain_read || status == 200 || status == 503, "{what}");
            *refused.entry(who).or_default() += usize::from(status == 403);
        }
    }
    let counts: Vec<usize> = USERS.iter().filter_map(|(who, ..)| refused.get(who).copied()).collect();
    let count = |role: Role| endpoints.iter().filter(|one| one.role > role).count();
    let (viewers, nobody) = (count(Role::Viewer), count(Role::Anyone));
    ensure!(viewers > 15 && nobody > viewers + 15, "{viewers} and {nobody}");
    ensure!(counts == [0, 0, 0, viewers, viewers, nobody, nobody, nobody], "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn a_viewer_reads_and_does_not_write_and_who_leaves_his_group_does_neither() -> Result<()> {
    let town = Town::found().await?;
    let _gateway = town.gateway_with_users().await?;
    let socket = town.control();
    let block = "/v1/blocks/mallory@wingtip.com";
    ensure!(VICTOR.ask(&socket, "GET", "/v1/blocks").await? == 200);
    ensure!(VICTOR.ask(&socket, "GET", "/v1/partners/wingtip.com").await? == 200);
    for (method, path) in [("PUT", block), ("POST", "/v1/reload"), ("POST", "/v1/partners/wingtip.com/test")]
    {
        ensure!(VICTOR.ask(&socket, method, path).await? == 403, "{method} {path}");
    }
    ensure!(!town.done(&["block", "list"]).await?.contains("mallory"), "a viewer has blocked somebody");
    // With his next request: the database is asked each time.
    let group = town.folder().join("group");
    ensure!(ANNA.ask(&socket, "POST", "/v1/reload").await? == 200);
    fs::write(&group, GROUP.replace(":anna", ":"))?;
    ensure!(ANNA.ask(&socket, "POST", "/v1/reload").await? == 403);
    ensure!(ANNA.ask(&socket, "GET", "/v1/partners").await? == 200, "she is a viewer still");
    fs::write(&group, GROUP.replace(":anna", ":").replace(",anna", ""))?;
    ensure!(ANNA.ask(&socket, "GET", "/v1/partners").await? == 403);
    ensure!(ANNA.ask(&socket, "GET", "/health/live").await? == 200, "that is for anyone");
    let trail = town.done(&["audit", "--most", "100"]).await?;
    for part in ["request.refused", "user victor (uid 7002)", "POST /v1/reload", "user anna (uid 7001)"] {
        ensure!(trail.contains(part), "{part} is not in\n{trail}");
    }
    Ok(())
}
