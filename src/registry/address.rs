//! What kind of place an address is, and which kinds a server may send us to: pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far inside an address lies. Several addresses of one host count as the least of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Reached from everywhere.
    Public,
    /// Of a private network (RFC 1918, RFC 6598, RFC 4193).
    Private,
    /// This machine.
    Loopback,
    /// Of this link only, of a cloud's metadata service, or no host's at all: no registry answers there.
    Special,
}

/// Metadata services of clouds that are not link-local: AWS, Google, Alibaba, Azure, Oracle.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// The class of `ip`; of an IPv6 address that stands for an IPv4 one, that one's.
pub(super) fn class(ip: IpAddr) -> Class {
    if METADATA.contains(&ip) {
        return Class::Special;
    }
    match ip {
        IpAddr::V4(ip) => class_v4(ip),
        IpAddr::V6(ip) => match embedded(ip) {
            Some(inner) => class(IpAddr::V4(inner)),
            None => class_v6(ip),
        },
    }
}

fn class_v4(ip: Ipv4Addr) -> Class {
    let [a, b, c, _] = ip.octets();
    match (a, b, c) {
        // 0.0.0.0 is this machine for whoever connects to it.
        (127 | 0, ..) => Class::Loopback,
        (169, 254, _) | (224.., ..) => Class::Special,
        (100, 64..=127, _) | (198, 18..=19, _) | (192, 0, 0) => Class::Private,
        _ if ip.is_private() => Class::Private,
        _ => Class::Public,
    }
}

fn class_v6(ip: Ipv6Addr) -> Class {
    match ip.segments()[0] {
        _ if ip.is_loopback() || ip.is_unspecified() => Class::Loopback,
        // Link-local, and multicast.
        0xfe80..=0xfebf | 0xff00.. => Class::Special,
        // Unique local, and what was site-local before (RFC 3879).
        0xfc00..=0xfdff | 0xfec0..=0xfeff => Class::Private,
        _ => Class::Public,
    }
}

/// The IPv4 address that `ip` leads to: mapped and compatible (RFC 4291), NAT64 (RFC 6052, RFC 8215), 6to4
/// (RFC 3056).
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |s: [u16; 8]| {
        let ([a, b], [c, d]) = (s[6].to_be_bytes(), s[7].to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        s @ [0, 0, 0, 0, 0, 0xffff | 0, _, _] => last(s),
        s @ [0, 0, 0, 0, 0xffff, 0, _, _] => last(s),
        s @ [0x64, 0xff9b, 0 | 1, ..] => last(s),
        [0x2002, x, y, ..] => last([0, 0, 0, 0, 0, 0, x, y]),
        _ => None,
    }
}

/// Whether a server of class `from` may send us to an address of class `to`: outwards, and to its own kind.
/// A registry on this machine (a tunnel, a test) may keep its blobs in the private network.
pub(super) fn may_lead(from: Class, to: Class) -> bool {
    to == Class::Public || to == from || (from == Class::Loopback && to == Class::Private)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_an_inner_address_is_known() {
        for (text, expected) in [
            ("8.8.8.8", Class::Public),
            ("100.63.255.255", Class::Public),
            ("100.128.0.1", Class::Public),
            ("172.32.0.1", Class::Public),
            ("2001:4860:4860::8888", Class::Public),
            ("::ffff:8.8.8.8", Class::Public),
            ("64:ff9b::808:808", Class::Public),
            ("10.1.2.3", Class::Private),
            ("172.16.0.1", Class::Private),
            ("172.31.255.255", Class::Private),
            ("192.168.1.1", Class::Private),
            ("100.64.0.1", Class::Private),
            ("100.127.255.255", Class::Private),
            ("198.18.0.1", Class::Private),
            ("fc00::1", Class::Private),
            ("fd12::1", Class::Private),
            ("fec0::1", Class::Private),
            ("::ffff:10.0.0.1", Class::Private),
            ("64:ff9b::a00:1", Class::Private),
            ("64:ff9b:1::a00:1", Class::Private),
            ("2002:a00:1::1", Class::Private),
            ("127.0.0.1", Class::Loopback),
            ("127.9.9.9", Class::Loopback),
            ("0.0.0.0", Class::Loopback),
            ("0.1.2.3", Class::Loopback),
            ("::", Class::Loopback),
            ("::1", Class::Loopback),
            ("::127.0.0.1", Class::Loopback),
            ("::ffff:127.0.0.1", Class::Loopback),
            ("::ffff:0:127.0.0.1", Class::Loopback),
            ("64:ff9b::7f00:1", Class::Loopback),
            ("2002:7f00:1::", Class::Loopback),
            ("169.254.169.254", Class::Special),
            ("::ffff:169.254.169.254", Class::Special),
            ("64:ff9b::a9fe:a9fe", Class::Special),
            ("100.100.100.200", Class::Special),
            ("168.63.129.16", Class::Special),
            ("fd00:ec2::254", Class::Special),
            ("fe80::1", Class::Special),
            ("224.0.0.1", Class::Special),
            ("255.255.255.255", Class::Special),
            ("ff02::1", Class::Special),
        ] {
            assert_eq!(class(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn servers_lead_outwards_or_stay_where_they_are() {
        use Class::{Loopback, Private, Public, Special};
        let all = [Public, Private, Loopback, Special];
        let allowed = |from| all.into_iter().filter(|to| may_lead(from, *to)).collect::<Vec<_>>();
        assert_eq!(allowed(Public), [Public]);
        assert_eq!(allowed(Private), [Public, Private]);
        assert_eq!(allowed(Loopback), [Public, Private, Loopback]);
        assert_eq!(allowed(Special), [Public, Special]);
        assert_eq!([Special, Loopback, Public].into_iter().min(), Some(Public));
    }
}
