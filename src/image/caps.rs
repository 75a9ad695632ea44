//! File capabilities: ko's `linux_capabilities` words as the bytes of the extended attribute `security.capability`.
//!
//! The words are those of capabilities(7), the clauses those of cap_from_text(3); the bytes are the kernel's
//! `struct vfs_cap_data` of revision 2 (include/uapi/linux/capability.h), little-endian.

use crate::error::{Error, Kind, Result, nearest};

/// The name of the extended attribute.
pub const XATTR: &str = "security.capability";

/// The bytes of the extended attribute.
pub type Bytes = [u8; 20];

/// The names by number, as of Linux 5.9.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// All that have a name.
const ALL: u64 = (1 << NAMES.len()) - 1;

/// `VFS_CAP_REVISION_2`, and the flag that what is permitted is also effective.
const REVISION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;

/// The three sets that a clause can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sets {
    permitted: u64,
    inheritable: u64,
    effective: u64,
}

/// The attribute that `terms` ask for, as ko reads them: each a capability, which becomes permitted, or a clause such
/// as `net_admin,net_raw=ep`. `None` if nothing is permitted or inheritable in the end.
///
/// # Errors
/// A word that is no capability; the hint names the nearest that is. A letter that is no flag.
pub fn parse<T: AsRef<str>>(terms: &[T]) -> Result<Option<Bytes>> {
    let mut sets = Sets::default();
    for term in terms {
        let term = term.as_ref();
        match term.find(['+', '-', '=']) {
            None => sets.permitted |= capability(term, term)?,
            Some(at) => clause(term, &term[..at], &term[at..], &mut sets)?,
        }
    }
    Ok(encode(sets))
}

/// Applies a clause: capabilities, then operators each with the sets that they change.
fn clause(term: &str, names: &str, actions: &str, sets: &mut Sets) -> Result<()> {
    // A lone `=` speaks of all.
    let names = if names.is_empty() && actions.starts_with('=') { "all" } else { names };
    let mut mask = 0;
    for name in names.split(',') {
        mask |= capability(name, term)?;
    }
    let mut lowers = false;
    for action in actions.chars() {
        let set = match action {
            '+' | '-' | '=' => {
                lowers = action == '-';
                if action == '=' {
                    for set in [&mut sets.permitted, &mut sets.inheritable, &mut sets.effective] {
                        *set &= !mask;
                    }
                }
                continue;
            }
            'p' => &mut sets.permitted,
            'i' => &mut sets.inheritable,
            'e' => &mut sets.effective,
            other => {
                return Err(bad(term, format!("unknown flag \"{other}\""))
                    .hint("flags are e (effective), i (inheritable) and p (permitted)"));
            }
        };
        if lowers {
            *set &= !mask;
        } else {
            *set |= mask;
        }
    }
    Ok(())
}

/// One capability as a mask: a number up to 63, `all`, or a name in any case with or without `CAP_`.
fn capability(word: &str, term: &str) -> Result<u64> {
    let is_number = !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    match word.parse::<u32>() {
        Ok(number) if is_number && number < 64 => return Ok(1 << number),
        _ if is_number => {
            return Err(bad(term, format!("{word} is no capability")).hint("numbers go up to 63"));
        }
        _ => {}
    }
    let lower = word.to_ascii_lowercase();
    if lower == "all" {
        return Ok(ALL);
    }
    let name = lower.strip_prefix("cap_").unwrap_or(&lower);
    if let Some(number) = NAMES.iter().position(|known| *known == name) {
        return Ok(1 << number);
    }
    if word.is_empty() {
        return Err(bad(term, "a capability is missing").hint("such as net_bind_service=ep"));
    }
    let error = bad(term, format!("unknown capability \"{word}\""));
    match nearest(name, NAMES.iter().chain(&["all"]).copied()) {
        Some(known) => Err(error.hint(format!("did you mean {known}?"))),
        None => Err(error.hint("capabilities(7) lists them, such as net_bind_service")),
    }
}

fn bad(term: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Input, format!("read the capabilities \"{term}\""), why)
}

/// Magic and flags, then permitted and inheritable of the low and of the high 32 capabilities. The kernel keeps no
/// effective set: it is one flag for all.
fn encode(sets: Sets) -> Option<Bytes> {
    if sets.permitted == 0 && sets.inheritable == 0 {
        return None;
    }
    let magic = REVISION_2 | if sets.effective == 0 { 0 } else { EFFECTIVE };
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&magic.to_le_bytes());
    let (permitted, inheritable) = (sets.permitted.to_le_bytes(), sets.inheritable.to_le_bytes());
    for (half, place) in [(0, 4), (4, 12)] {
        bytes[place..place + 4].copy_from_slice(&permitted[half..half + 4]);
        bytes[place + 4..place + 8].copy_from_slice(&inheritable[half..half + 4]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the bytes say: permitted, inheritable, effective.
    fn decoded(bytes: &Bytes) -> (u64, u64, bool) {
        let word = |at: usize| u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()));
        assert_eq!(word(0) & !1, 0x0200_0000);
        (word(4) | word(12) << 32, word(8) | word(16) << 32, word(0) & 1 == 1)
    }

    fn read(text: &str) -> Option<(u64, u64, bool)> {
        let terms: Vec<&str> = text.split_whitespace().collect();
        parse(&terms).unwrap().map(|bytes| decoded(&bytes))
    }

    #[test]
    fn names_numbers_and_all_are_permitted_only() {
        for (text, permitted) in [
            ("chown", 1),
            ("cap_chown", 1),
            ("Cap_ChOwN", 1),
            ("0", 1),
            ("007", 1 << 7),
            ("40", 1 << 40),
            ("63", 1 << 63),
            ("all", (1 << 41) - 1),
            ("ALL", (1 << 41) - 1),
            ("chown dac_override dac_read_search", 0b111),
            ("net_bind_service 63", 1 << 10 | 1 << 63),
        ] {
            assert_eq!(read(text), Some((permitted, 0, false)), "{text}");
        }
    }

    #[test]
    fn clauses_are_those_of_cap_from_text() {
        for (text, sets) in [
            ("", None),
            ("chown,dac_override,2=p", Some((7, 0, false))),
            ("chown,dac_override,dac_read_search=i", Some((0, 7, false))),
            ("chown=e", None),
            ("chown,dac_override=pe", Some((3, 0, true))),
            ("=pe", Some(((1 << 41) - 1, 0, true))),
            ("all=ip", Some(((1 << 41) - 1, (1 << 41) - 1, false))),
            ("=", None),
            ("chown=", None),
            // `=` begins anew for the capabilities that it names, `+` and `-` change what was there.
            ("chown=ie chown=p", Some((1, 0, false))),
            ("chown=ie chown=", None),
            ("chown=ie chown+p", Some((1, 1, true))),
            ("chown=pie dac_override,chown-p", Some((0, 1, true))),
            ("chown=pie chown-e", Some((1, 1, false))),
            ("chown,kill=p chown=", Some((1 << 5, 0, false))),
            ("chown=p-p+i", Some((0, 1, false))),
            ("kill chown=i", Some((1 << 5, 1, false))),
        ] {
            assert_eq!(read(text), sets, "{text}");
        }
    }

    #[test]
    fn the_bytes_are_those_that_setcap_writes() {
        let hex = |text: &str| -> String {
            let bytes = parse(&[text]).unwrap().unwrap();
            bytes.iter().map(|b| format!("{b:02x}")).collect()
        };
        assert_eq!(hex("net_bind_service=ep"), "0100000200040000000000000000000000000000");
        assert_eq!(hex("cap_chown=p"), "0000000201000000000000000000000000000000");
        assert_eq!(hex("cap_chown=i"), "0000000200000000010000000000000000000000");
        assert_eq!(hex("cap_mac_override=eip"), "0100000200000000000000000100000001000000");
        // Every name is its number: the bit is at the same place in the low or the high word.
        for (number, name) in NAMES.iter().enumerate() {
            let mask = 1 << number;
            assert_eq!(read(&format!("{name}=eip")), Some((mask, mask, true)), "{name}");
            assert_eq!(read(&format!("{number}=eip")), Some((mask, mask, true)), "{name}");
        }
        assert_eq!(
            (NAMES[21], NAMES[31], NAMES[32], NAMES[40]),
            ("sys_admin", "setfcap", "mac_override", "checkpoint_restore")
        );
    }

    #[test]
    fn what_is_none_is_refused_with_the_nearest() {
        for (text, why, hint) in [
            ("net_bind_servce", "unknown capability \"net_bind_servce\"", "did you mean net_bind_service?"),
            ("CAP_NETADMIN", "unknown capability \"CAP_NETADMIN\"", "did you mean net_admin?"),
            ("cap_all", "unknown capability \"cap_all\"", "did you mean all?"),
            ("xyz", "unknown capability", "capabilities(7)"),
            ("64", "64 is no capability", "up to 63"),
            ("99999999999", "99999999999 is no capability", "up to 63"),
            ("chown,=pie", "a capability is missing", ""),
            ("-pie", "a capability is missing", ""),
            ("+pie", "a capability is missing", ""),
            ("", "a capability is missing", ""),
            ("chown=x", "unknown flag \"x\"", "e (effective)"),
            ("chown=P", "unknown flag \"P\"", ""),
        ] {
            let error = parse(&[text]).unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(error.to_string().contains(why), "{text}: {error}");
            assert!(error.hint_text().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint_text());
        }
    }
}
