//! Who is at the other end of the Unix socket, and which role that gives him.
//!
//! The kernel says by which user and group the socket was connected (SO_PEERCRED). A group that somebody is in besides does
//! not show there, so the user's groups are asked for in the system's database (getgrouplist), by his uid. The other way
//! would be to read them from /proc for the peer's pid; but a process may hand its end of the socket on, end, and leave its
//! number to somebody else's, and could so borrow his groups. What the database says cannot be influenced by the peer, and
//! who is taken out of a group there is out at once, without having to log in anew. The price: a group that only a process has
//! (`SupplementaryGroups=` of a unit) counts only as its primary one (`Group=`).

use std::ffi::CString;
use std::time::Duration;

use compact_str::{CompactString, format_compact};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::unix::UCred;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::{Caller, Role};

/// The database may be on the network.
const LOOK_UP: Duration = Duration::from_secs(10);

/// The groups whose members have a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    pub admin: String,
    pub viewer: String,
}

/// Who connected, with the most that he may do now.
pub(super) async fn caller(credentials: UCred, groups: &Groups) -> Caller {
    let groups = groups.clone();
    let (uid, gid) = (credentials.uid(), credentials.gid());
    let look_up = spawn_blocking(move || identify(uid, gid, &groups));
    match timeout(LOOK_UP, look_up).await {
        Ok(Ok(caller)) => caller,
        _ => nobody(
            format_compact!("uid {uid}"),
            "the system did not say in time which groups this user is in",
        ),
    }
}

fn identify(uid: u32, gid: u32, groups: &Groups) -> Caller {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    let name = match &user {
        Some(user) => format_compact!("user {} (uid {uid})", user.name),
        None => format_compact!("uid {uid}"),
    };
    // Whoever the gateway runs as can write what it reads, and stop it.
    if uid == 0 || uid == rustix::process::geteuid().as_raw() {
        return Caller { name, role: Role::Admin, why: CompactString::default(), by_token: false };
    }
    let mut his = vec![Gid::from_raw(gid)];
    if let Some(user) = &user
        && let Ok(login) = CString::new(user.name.as_str())
    {
        his.extend(getgrouplist(&login, user.gid).unwrap_or_default());
    }
    let role = role(&his, groups, |name| Group::from_name(name).ok().flatten().map(|group| group.gid));
    let why = format_compact!(
        "admins are root and the members of the group {}, viewers those of {}",
        groups.admin,
        groups.viewer
    );
    Caller { name, role, why, by_token: false }
}

/// The most that one of these groups gives; a group that does not exist gives nothing.
fn role(his: &[Gid], groups: &Groups, number: impl Fn(&str) -> Option<Gid>) -> Role {
    let is_in = |name: &str| number(name).is_some_and(|group| his.contains(&group));
    if is_in(&groups.admin) {
        Role::Admin
    } else if is_in(&groups.viewer) {
        Role::Viewer
    } else {
        Role::Anyone
    }
}

fn nobody(name: CompactString, why: &str) -> Caller {
    Caller { name, role: Role::Anyone, why: why.into(), by_token: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups() -> Groups {
        Groups { admin: "nuncio-admin".to_owned(), viewer: "nuncio-viewer".to_owned() }
    }

    fn number(name: &str) -> Option<Gid> {
        match name {
            "nuncio-admin" => Some(Gid::from_raw(900)),
            "nuncio-viewer" => Some(Gid::from_raw(901)),
            _ => None,
        }
    }

    #[test]
    fn a_group_beside_the_primary_one_counts() {
        let of = |list: &[u32]| {
            role(&list.iter().map(|gid| Gid::from_raw(*gid)).collect::<Vec<_>>(), &groups(), number)
        };
        assert_eq!(of(&[100, 900]), Role::Admin);
        assert_eq!(of(&[900]), Role::Admin);
        assert_eq!(of(&[100, 901]), Role::Viewer);
        assert_eq!(of(&[901, 900]), Role::Admin, "the most of them");
        assert_eq!(of(&[100]), Role::Anyone);
    }

    #[test]
    fn a_group_that_does_not_exist_lets_nobody_in() {
        let gone = Groups { admin: "gone".to_owned(), viewer: "gone".to_owned() };
        assert_eq!(role(&[Gid::from_raw(0)], &gone, number), Role::Anyone);
    }

    #[test]
    fn root_is_an_admin_and_a_stranger_is_told_what_he_lacks() {
        assert_eq!(identify(0, 0, &groups()).role, Role::Admin);
        // No user of this number, and no group either.
        let stranger = identify(4_000_000_001, 4_000_000_001, &groups());
        assert_eq!((stranger.role, stranger.name.as_str()), (Role::Anyone, "uid 4000000001"));
        assert!(stranger.why.contains("nuncio-admin"), "{}", stranger.why);
    }
}
