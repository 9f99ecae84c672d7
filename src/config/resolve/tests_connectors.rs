//! Connectors other than serial devices.

use super::tests::{said, with};

#[test]
fn connectors_of_every_type() {
    for (text, expected) in [
        ("tcp,127.0.0.1,2000", "nodelay=true"),
        ("127.0.0.1,2000", "nodelay=true"),
        ("tcp(nodelay=false,laddr=\"127.0.0.2,0\"),h,2000,ipv6,::1,2001", "nodelay=false laddr=127.0.0.2,0"),
        ("udp,h,1", "nocon=false mttl=1 mloop=true reuseaddr=false"),
        (
            "udp(mcast='ff02::1',mcast=\"239.1.2.3,239.1.2.4\",laddr='ipv6,3000',nocon,mttl=3,mloop=no),ff02::1,3000",
            "laddr=ipv6,3000 nocon=true mcast=ff02::1,239.1.2.3,239.1.2.4 mttl=3 mloop=false reuseaddr=false",
        ),
        ("unix,/run/x,y", ""),
        ("dev(rdonly),/dev/x", "rdonly=true wronly=false"),
        ("pty", "forcelink=false raw=false"),
        (
            "pty(link=/l,raw,umode=rw,gmode=r,owner=root)",
            "link=/l forcelink=false raw=true perm=646 owner=root",
        ),
        ("pty(start-dir=/tmp),-/bin/sh -c \"a b\"", "forcelink=false raw=false start-dir=/tmp"),
        ("stdio(stderr-to-stdout),cat -u", "noredir-stderr=false stderr-to-stdout=true"),
        ("echo(noecho,data=\"a b\")", "noecho=true data=a b"),
        (
            "file(infile=/i,outfile=/o,create,perm=640)",
            "infile=/i outfile=/o read_close=true create=true perm=640",
        ),
        ("telnet(rfc2217),tcp,h,1", "rfc2217=true nodelay=true"),
        ("ssl(CA=/ca/,key=/k),tcp,h,1", "key=/k cert=/k ca=/ca/ allow-authfail=false nodelay=true"),
        ("ssl(allow-authfail),unix,/x", "allow-authfail=true"),
        (
            "keepopen(retry-time=1500,discard-badwrites),echo",
            "retry-time=1500m discard-badwrites=true noecho=false",
        ),
        ("ratelimit(xmit_len=4,xmit_delay=1s500m),echo", "xmit_len=4 xmit_delay=1500m noecho=false"),
        ("msgdelim(crc=off),echo", "crc=false noecho=false"),
        (
            "trace(dir=read,block=write,stdout),echo",
            "dir=read block=write raw=false stdout=true delold=false noecho=false",
        ),
    ] {
        let (connection, diagnostics) = with("tcp,2000", text, &[]);
        let connection = connection.unwrap_or_else(|| panic!("{text}: {}", said(&diagnostics)));
        assert!(diagnostics.is_empty(), "{text}: {}", said(&diagnostics));
        assert!(connection.connector.device().is_none() && **connection.connector.label() == *text);
        let options = crate::config::values::in_force(&connection);
        // those of the connection and of the accepter tcp come first
        let of_accepter = options.iter().position(|v| v.name == "tcpdname").unwrap();
        let shown: Vec<String> = options[of_accepter + 1..]
            .iter()
            .filter_map(|v| v.value.as_ref().map(|value| format!("{}={value}", v.name)))
            .collect();
        assert_eq!(shown.join(" "), expected, "{text}");
    }
}

#[test]
fn serial_devices_below_filters() {
    let text = "keepopen(retry-time=2000),trace(dir=both,file=/t),ratelimit(xmit_delay=1m),msgdelim,\
                serialdev,/dev/ttyS0,9600n81,local";
    let (connection, diagnostics) = with("tcp,2000", text, &[]);
    assert!(diagnostics.is_empty(), "{}", said(&diagnostics));
    let connector = connection.unwrap().connector;
    assert_eq!((connector.filters.len(), &**connector.label()), (4, "/dev/ttyS0"));
    assert_eq!(connector.pause(), std::time::Duration::from_millis(1));
}

#[test]
fn connectors_with_mistakes() {
    for (text, why) in [
        ("tcp", "address is missing"),
        ("tcp,", "address is missing"),
        ("tcp,h,0", "port 0"),
        ("tcp,h,x y", "neither a port number"),
        ("tcp,h", "neither a port number"),
        ("tcp,udp,h,1", "another protocol"),
        ("tcp(laddr=127.0.0.2),h,1", "laddr=127.0.0.2 is no address"),
        ("tcp(bogus),h,1", "unknown option 'bogus'"),
        ("udp,h,1,h,2", "one peer"),
        ("udp(mcast=127.0.0.1),h,1", "no multicast address"),
        ("unix", "path of the socket is missing"),
        ("dev", "device is missing"),
        ("dev(rdonly,wronly),/dev/x", "exclude each other"),
        ("pty(perm=88)", "three octal digits"),
        ("pty(perm=0660)", "three octal digits"),
        ("pty(umode=9)", "0 to 7"),
        ("pty(gmode=rq)", "0 to 7"),
        ("pty(link=/l),cat", "without a program"),
        ("pty,-", "no name"),
        ("stdio", "program is missing"),
        ("stdio,\"a", "not closed"),
        ("file(create=maybe)", "true or false"),
        ("ssl,tcp,h,1", "without CA"),
        ("ssl(CA=/c,cert=/d),tcp,h,1", "no key"),
        ("keepopen(retry-time=5x),echo", "must be a time"),
        ("ratelimit(xmit_len=1),echo", "needs xmit_delay"),
        ("ratelimit(xmit_delay=200),echo", "must be a time"),
        ("trace(dir=foo),echo", "one of none, read"),
        ("keepopen", "needs something below it"),
    ] {
        let (connection, diagnostics) = with("tcp,2000", text, &[]);
        assert!(connection.is_none(), "{text}");
        assert!(said(&diagnostics).contains(why), "{text}: {}", said(&diagnostics));
        assert!(diagnostics.iter().all(|d| !d.later), "{text}");
    }
    for (text, why) in [
        ("tcp,2000", "host is missing; ::1 is used"),
        ("tcp,ipv4,2000", "host is missing; 127.0.0.1 is used"),
        ("echo,foo", "means nothing"),
        ("file", "does nothing"),
        ("trace,echo", "copies nothing"),
        ("trace(dir=both),echo", "copies nothing"),
    ] {
        let (connection, diagnostics) = with("tcp,2000", text, &[]);
        assert!(connection.is_some() && said(&diagnostics).contains(why), "{text}: {}", said(&diagnostics));
    }
}
