//! The service as `dig` sees it: a client that somebody else wrote.

use crate::lab::{Lab, Upstream};
use tokio::process::Command;

/// What `dig` prints. Needs Debian's bind9-dnsutils.
async fn dig(lab: &Lab, tcp: bool, arguments: &[&str]) -> String {
    let port = if tcp { lab.tcp } else { lab.udp }.port().to_string();
    let transport = if tcp { "+tcp" } else { "+notcp" };
    let output = Command::new("dig")
        .args(["@127.0.0.1", "-p", &port, transport, "+time=10", "+tries=1", "+nocookie"])
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await
        .expect("dig is there (Debian package bind9-dnsutils)");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("Warning") && !text.contains("WARNING"), "{text}");
    text
}

/// Each question, and what must be in the answer.
#[tokio::test]
async fn dig_understands_every_answer() {
    let upstream = Upstream::start().await;
    let lab = Lab::start(&[upstream.address]);
    let lie = "www.Example.edu.\t7\tIN\tA\t10.0.0.80";
    let soa = ".\t\t\t7\tIN\tSOA\tportal.invalid. hostmaster.invalid. 1 7 7 7 7";
    #[rustfmt::skip]
    let table: &[(&[&str], &[&str])] = &[
        (&["www.Example.edu", "A"], &["status: NOERROR", "flags: qr rd ra;", "ANSWER: 1", lie, "udp: 1232"]),
        (&["www.Example.edu", "A", "+noedns"], &["status: NOERROR", lie, "ADDITIONAL: 0"]),
        (&["www.Example.edu", "A", "+norecurse"], &["flags: qr ra;", lie]),
        (&["www.Example.edu", "A", "+bufsize=600"], &["udp: 600", lie]),
        (&["www.Example.edu", "A", "+dnssec"], &["flags: do; udp: 1232", lie]),
        (&["www.Example.edu", "AAAA"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]),
        (&["www.Example.edu", "HTTPS"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]),
        (&["www.Example.edu", "SVCB"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]),
        (&["www.Example.edu", "ANY"], &["status: NOERROR", lie]),
        (&["-x", "10.0.0.80"], &["status: NOERROR", "ANSWER: 0, AUTHORITY: 1", soa]),
        (&["version.bind", "TXT", "CH"], &["status: REFUSED"]),
        (&["www.Example.edu", "A", "+edns=1", "+noednsnegotiation"], &["status: BADVERS", "EDNS: version: 0"]),
        (&["www.Example.edu", "A", "+edns=1"], &["status: NOERROR", lie]),
        (&["www.Example.edu", "A", "+opcode=2"], &["status: NOTIMP"]),
        (&["www.Example.edu", "A", "+header-only"], &["status: FORMERR"]),
        (&["use-application-dns.net", "A"], &["status: NXDOMAIN", soa]),
        (&["mask.icloud.com", "HTTPS"], &["status: NXDOMAIN", soa]),
        (&["sso.example", "A"], &["status: NOERROR", "\tIN\tA\t192.0.2.1"]),
        (&["register.campus.example", "A"], &["\tIN\tA\t10.0.0.80"]),
        (&["gone.idp.example", "A"], &["status: NXDOMAIN", "ns.example. admin.example. 9 8 7 6 1234"]),
        (&["alias.idp.example", "A"], &["CNAME\tTarget.Elsewhere.example.", "ANSWER: 2"]),
    ];
    for (arguments, expected) in table {
        for tcp in [false, true] {
            let text = dig(&lab, tcp, arguments).await;
            for part in *expected {
                assert!(text.contains(part), "{arguments:?}, TCP {tcp}: no {part:?} in\n{text}");
            }
        }
    }
    let counts = lab.counts();
    assert_eq!((counts.sends_failed, counts.format_error), (0, 0), "{counts}");
}
