//! Who may connect: ser2net's `remaddr` and serbroker's `allow`.

use crate::config::{Options, RemoteRule};
use std::net::SocketAddr;

/// Whether a client at `peer` may use a connection with these options.
///
/// `allow` is a list of networks, any of which must hold the address. `remaddr` is gone through in
/// order and the first rule that matches decides: a plain one lets the client in, a `!` one does
/// not. When none matches, the client is let in only if there is no plain rule at all.
pub fn permitted(options: &Options, peer: &SocketAddr) -> bool {
    let ip = peer.ip().to_canonical();
    let in_allow = options.allow.as_ref().is_none_or(|nets| nets.iter().any(|n| n.contains(&ip)));
    in_allow && remaddr(&options.remaddr, peer)
}

fn remaddr(rules: &[RemoteRule], peer: &SocketAddr) -> bool {
    let ip = peer.ip().to_canonical();
    for rule in rules {
        if rule.net.contains(&ip) && rule.port.is_none_or(|p| p == peer.port()) {
            return !rule.negate;
        }
    }
    rules.iter().all(|r| r.negate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> RemoteRule {
        let (negate, text) = text.strip_prefix('!').map_or((false, text), |t| (true, t));
        let (net, port) = text.split_once(',').map_or((text, None), |(n, p)| (n, p.parse().ok()));
        RemoteRule { negate, net: net.parse().unwrap(), port }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        for (rules, peer, want) in [
            (vec![], "10.0.0.1:5", true),
            (vec!["127.0.0.1/32"], "127.0.0.1:5", true),
            (vec!["127.0.0.1/32"], "[::ffff:127.0.0.1]:5", true),
            (vec!["127.0.0.1/32"], "127.0.0.2:5", false),
            (vec!["127.0.0.1/32,1"], "127.0.0.1:5", false),
            (vec!["!127.0.0.1/32"], "127.0.0.1:5", false),
            (vec!["!127.0.0.1/32"], "127.0.0.2:5", true),
            (vec!["!10.1.0.0/16", "10.0.0.0/8"], "10.1.2.3:5", false),
            (vec!["!10.1.0.0/16", "10.0.0.0/8"], "10.2.2.3:5", true),
            (vec!["!10.1.0.0/16", "10.0.0.0/8"], "11.2.2.3:5", false),
        ] {
            let options = Options { remaddr: rules.iter().map(|r| rule(r)).collect(), ..Options::default() };
            assert_eq!(permitted(&options, &peer.parse().unwrap()), want, "{rules:?} {peer}");
        }
    }

    #[test]
    fn allow_is_a_list_of_networks() {
        let options = |nets: &[&str]| Options {
            allow: Some(nets.iter().map(|n| n.parse().unwrap()).collect()),
            ..Options::default()
        };
        assert!(!permitted(&options(&[]), &"127.0.0.1:5".parse().unwrap()));
        assert!(permitted(&options(&["192.168.0.0/16", "fd00::/8"]), &"[fd00::7]:5".parse().unwrap()));
        assert!(permitted(&options(&["192.168.0.0/16"]), &"[::ffff:192.168.1.1]:5".parse().unwrap()));
        assert!(!permitted(&options(&["192.168.0.0/16"]), &"[fd00::7]:5".parse().unwrap()));
    }
}
