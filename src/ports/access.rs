//! Who may open a device.

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgroups};
use serde::Serialize;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Owner, group and mode of a device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Access {
    /// Name of the owner, or its number.
    pub owner: String,
    /// Name of the group, or its number.
    pub group: String,
    /// Four octal digits.
    pub mode: String,
    /// The user who asks may read and write, as far as owner, group and mode tell: neither access
    /// control lists nor the device rules of a container are looked at.
    pub may_open: bool,
    /// The user who asks, when a change of groups would help: `usermod -a -G GROUP USER`.
    pub would_need_group: Option<String>,
}

/// A user with all groups.
#[derive(Clone, Debug)]
struct Asker {
    user: Uid,
    groups: Vec<Gid>,
}

impl Access {
    /// For the present user.
    pub(super) fn of(node: &Metadata) -> Self {
        let mut groups = getgroups().unwrap_or_default();
        groups.push(getegid());
        Self::for_user(node.uid(), node.gid(), node.mode(), &Asker { user: geteuid(), groups })
    }

    fn for_user(owner: u32, group: u32, mode: u32, asker: &Asker) -> Self {
        let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
        let member = asker.groups.contains(&group);
        // the first class that fits decides (path_resolution(7))
        let bits = match () {
            () if asker.user.is_root() => 0o6,
            () if asker.user == owner => mode >> 6,
            () if member => mode >> 3,
            () => mode,
        };
        let may_open = bits & 0o6 == 0o6;
        let group_would = !may_open && mode >> 3 & 0o6 == 0o6 && group.as_raw() != 0 && asker.user != owner;
        Self {
            owner: name_of_user(owner),
            group: match Group::from_gid(group) {
                Ok(Some(known)) => known.name,
                _ => group.to_string(),
            },
            mode: format!("{:04o}", mode & 0o7777),
            may_open,
            would_need_group: group_would.then(|| name_of_user(asker.user)),
        }
    }
}

fn name_of_user(user: Uid) -> String {
    match User::from_uid(user) {
        Ok(Some(known)) => known.name,
        _ => user.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (may open, a group would help)
    fn asked(mode: u32, user: u32, groups: &[u32]) -> (bool, bool) {
        let groups = groups.iter().map(|group| Gid::from_raw(*group)).collect();
        // numbers that no system gives a name
        let access =
            Access::for_user(4_000_001, 4_000_002, mode, &Asker { user: Uid::from_raw(user), groups });
        assert_eq!((access.owner.as_str(), access.group.as_str()), ("4000001", "4000002"));
        assert_eq!(access.mode, format!("{:04o}", mode & 0o7777));
        (access.may_open, access.would_need_group.is_some())
    }

    #[test]
    fn the_class_that_fits_decides() {
        let (owner, group, other) = (4_000_001, 4_000_002, 4_000_003);
        assert_eq!(asked(0o20660, owner, &[other]), (true, false));
        assert_eq!(asked(0o20660, other, &[other, group]), (true, false));
        assert_eq!(asked(0o20660, other, &[other]), (false, true));
        assert_eq!(asked(0o20600, other, &[other, group]), (false, false));
        assert_eq!(asked(0o20666, other, &[]), (true, false));
        // the owner is not helped by what the group may
        assert_eq!(asked(0o20066, owner, &[group]), (false, false));
        assert_eq!(asked(0o20440, other, &[group]), (false, false));
        assert_eq!(asked(0o20000, 0, &[]), (true, false));
    }
}
