//! The small text files of `etc/`.

use super::VERSION;

/// Names below `etc/`, and contents.
pub(super) const ETC: [(&str, &str); 5] = [
    ("group", GROUP),
    ("nsswitch.conf", NSSWITCH),
    ("passwd", PASSWD),
    ("protocols", PROTOCOLS),
    ("services", SERVICES),
];

/// os-release(5). Not an ID of a distribution: scanners would look for its package database.
pub(super) fn os_release() -> String {
    format!(
        "NAME=\"gimg static\"\nID=gimg-static\nVERSION_ID={VERSION}\nPRETTY_NAME=\"gimg static@{VERSION}\"\n\
         HOME_URL=\"https://github.com/gimg/gimg\"\n"
    )
}

const PASSWD: &str = "\
root:x:0:0:root:/root:/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
";

const GROUP: &str = "\
root:x:0:
tty:x:5:
staff:x:50:
nobody:x:65534:
nonroot:x:65532:
";

/// Go's resolver reads the hosts line: `/etc/hosts` comes before DNS.
const NSSWITCH: &str = "\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
";

/// The common ones of IANA's "Assigned Internet Protocol Numbers".
const PROTOCOLS: &str = "\
ip 0 IP
icmp 1 ICMP
igmp 2 IGMP
ipencap 4 IP-ENCAP
tcp 6 TCP
egp 8 EGP
igp 9 IGP
udp 17 UDP
dccp 33 DCCP
ipv6 41 IPv6
ipv6-route 43 IPv6-Route
ipv6-frag 44 IPv6-Frag
rsvp 46 RSVP
gre 47 GRE
esp 50 IPSEC-ESP
ah 51 IPSEC-AH
ipv6-icmp 58 IPv6-ICMP
ipv6-nonxt 59 IPv6-NoNxt
ipv6-opts 60 IPv6-Opts
ospf 89 OSPFIGP
pim 103 PIM
vrrp 112 VRRP
l2tp 115 L2TP
sctp 132 SCTP
udplite 136 UDPLite
";

/// The common ones of IANA's "Service Name and Transport Protocol Port Number Registry".
const SERVICES: &str = "\
echo 7/tcp
echo 7/udp
discard 9/tcp
discard 9/udp
daytime 13/tcp
ftp-data 20/tcp
ftp 21/tcp
ssh 22/tcp
telnet 23/tcp
smtp 25/tcp mail
time 37/tcp
time 37/udp
domain 53/tcp
domain 53/udp
bootps 67/udp
bootpc 68/udp
tftp 69/udp
gopher 70/tcp
finger 79/tcp
http 80/tcp www
kerberos 88/tcp kerberos5 krb5
kerberos 88/udp kerberos5 krb5
pop3 110/tcp pop-3
sunrpc 111/tcp portmapper
sunrpc 111/udp portmapper
nntp 119/tcp
ntp 123/udp
imap 143/tcp imap2
snmp 161/tcp
snmp 161/udp
snmptrap 162/tcp snmp-trap
snmptrap 162/udp snmp-trap
bgp 179/tcp
ldap 389/tcp
ldap 389/udp
https 443/tcp
https 443/udp
microsoft-ds 445/tcp
submissions 465/tcp ssmtp smtps
syslog 514/udp
submission 587/tcp
ipp 631/tcp
ldaps 636/tcp
ldaps 636/udp
domain-s 853/tcp
domain-s 853/udp
rsync 873/tcp
imaps 993/tcp
pop3s 995/tcp
socks 1080/tcp
openvpn 1194/tcp
openvpn 1194/udp
ms-sql-s 1433/tcp
radius 1812/tcp
radius 1812/udp
radius-acct 1813/tcp
radius-acct 1813/udp
mqtt 1883/tcp
nfs 2049/tcp
nfs 2049/udp
mysql 3306/tcp
ms-wbt-server 3389/tcp
stun 3478/tcp
stun 3478/udp
ipsec-nat-t 4500/udp
sip 5060/tcp
sip 5060/udp
sips 5061/tcp
sips 5061/udp
xmpp-client 5222/tcp
xmpp-server 5269/tcp
mdns 5353/udp
postgresql 5432/tcp
amqps 5671/tcp
amqp 5672/tcp
redis 6379/tcp
syslog-tls 6514/tcp
http-alt 8080/tcp webcache
http-alt 8080/udp
secure-mqtt 8883/tcp
";
