use super::*;
use proptest::prelude::*;

/// `filter|filter|base|tail`, options in brackets.
fn shape(text: &str, side: Side) -> String {
    let stack = match parse(text, side) {
        Ok(stack) => stack,
        Err(problem) => return format!("error {}: {problem}", &text[problem.place.clone()]),
    };
    let layer = |l: &Layer| {
        let options: Vec<&str> = l.options.iter().map(|o| o.text.as_str()).collect();
        if options.is_empty() { l.name.text.clone() } else { format!("{}{options:?}", l.name.text) }
    };
    let mut parts: Vec<String> = stack.filters.iter().map(layer).collect();
    parts.push(stack.base.as_ref().map(layer).unwrap_or_default());
    parts.push(stack.tail.map_or_else(|| "-".into(), |t| t.text));
    parts.join("|")
}

#[test]
fn shapes_of_accepters() {
    for (text, expected) in [
        ("tcp,2000", "tcp|2000"),
        ("tcp", "tcp|-"),
        ("tcp,", "tcp|"),
        ("tcp(),2000", "tcp|2000"),
        ("2000", "|2000"),
        (",2000", "|,2000"),
        ("127.0.0.1,2000", "|127.0.0.1,2000"),
        ("telnet,2000", "telnet||2000"),
        ("telnet(rfc2217),tcp,2000", "telnet[\"rfc2217\"]|tcp|2000"),
        (" telnet, \ttcp, 2000", "telnet|tcp| 2000"),
        ("telnet ,tcp,2000", "|telnet ,tcp,2000"),
        ("tcp 2000", "|tcp 2000"),
        ("TCP,2000", "|TCP,2000"),
        ("tcp( nodelay , readbuf=10 ),2000", "tcp[\"nodelay\", \"readbuf=10\"]|2000"),
        ("tcp(nodelay readbuf=10,),2000", "tcp[\"nodelay\", \"readbuf=10\"]|2000"),
        ("tcp(\"nodelay\"),2000", "tcp[\"nodelay\"]|2000"),
        ("tcp(a='x y',b=\"c,d)\",e\\ f=g),2000", "tcp[\"a=x y\", \"b=c,d)\", \"e f=g\"]|2000"),
        ("tcp(a=\"x\\\"y\"),2000", "tcp[\"a=x\\\"y\"]|2000"),
        ("tcp(nodelay=tr\\ue),2000", "tcp[\"nodelay=true\"]|2000"),
        ("tcp((nodelay),2000", "tcp[\"(nodelay\"]|2000"),
        ("telnet,ssl(key=a,cert=b),tcp,2000", "telnet|ssl[\"key=a\", \"cert=b\"]|tcp|2000"),
        ("echo", "|echo"),
        ("tcp,\"2000\"", "tcp|\"2000\""),
    ] {
        assert_eq!(shape(text, Side::Accepter), expected, "{text}");
    }
}

#[test]
fn shapes_of_connectors() {
    for (text, expected) in [
        ("serialdev,/dev/x, 9600n81, local", "serialdev|/dev/x, 9600n81, local"),
        ("sdev,/dev/x", "sdev|/dev/x"),
        ("serialdev(nouucplock=true),/dev/x", "serialdev[\"nouucplock=true\"]|/dev/x"),
        ("/dev/ttyS0,9600", "|/dev/ttyS0,9600"),
        ("keepopen(retry-time=1),serialdev,/dev/x", "keepopen[\"retry-time=1\"]|serialdev|/dev/x"),
        ("ipmisol,lan -U x -P y -p 9001 h,9600", "ipmisol|lan -U x -P y -p 9001 h,9600"),
        ("echo", "echo|-"),
    ] {
        assert_eq!(shape(text, Side::Connector), expected, "{text}");
    }
}

#[test]
fn mistakes_point_at_their_place() {
    for (text, expected) in [
        ("", "error : the string is empty"),
        ("telnet", "error telnet: telnet needs something below it"),
        ("telnet,", "error telnet: telnet needs something below it"),
        ("tcp(nodelay=true,2000", "error tcp(nodelay=true,2000: the '(' after tcp is not closed"),
        ("tcp(nodelay)2000", "error 2000: a comma must follow the ')' of tcp"),
        ("tcp(nodelay) ,2000", "error  ,2000: a comma must follow the ')' of tcp"),
        ("tcp(nodelay=true)),2000", "error ),2000: a comma must follow the ')' of tcp"),
        ("tcp((nodelay)),2000", "error ),2000: a comma must follow the ')' of tcp"),
        ("tcp(a=\"x),2000", "error \"x),2000: this quote is not closed"),
        ("tcp(a\\", "error \\: nothing follows the backslash"),
    ] {
        assert_eq!(shape(text, Side::Accepter), expected, "{text}");
    }
}

#[test]
fn words_of_a_tail() {
    let texts =
        |text: &str| -> Vec<String> { split_words(text, 0).unwrap().into_iter().map(|w| w.text).collect() };
    assert_eq!(texts("9600n81\tlocal,,rtscts , "), ["9600n81", "local", "rtscts"]);
    assert_eq!(texts("\"9600n81 local\" lo\\cal 'x'y)"), ["9600n81 local", "local", "xy)"]);
    assert_eq!(split_words("a 'local", 7).unwrap_err().place, 9..15);
    let word = &split_words("ab=c=d", 3).unwrap()[0];
    assert_eq!((word.key(), word.value(), word.place.clone()), ("ab", Some("c=d"), 3..9));
}

/// Places say where something was written, which a rewritten string need not keep.
fn without_places(mut stack: Stack) -> Stack {
    for layer in stack.filters.iter_mut().chain(&mut stack.base) {
        layer.name.place = 0..0;
        for option in &mut layer.options {
            option.place = 0..0;
        }
    }
    if let Some(tail) = &mut stack.tail {
        tail.place = 0..0;
    }
    stack
}

fn layer(names: &'static [&'static str]) -> impl Strategy<Value = Layer> {
    let word = |text: String| Word { text, place: 0..0 };
    (prop::sample::select(names), prop::collection::vec("[ -~é\\t]{0,6}", 0..3)).prop_map(
        move |(name, options)| Layer {
            name: word(name.to_owned()),
            options: options.into_iter().map(word).collect(),
        },
    )
}

fn stack() -> impl Strategy<Value = Stack> {
    let base = prop_oneof![
        (layer(&ACCEPTERS), prop::option::of("[ -~]{0,12}")).prop_map(|(l, t)| (Some(l), t)),
        "[0-9:/.][ -~]{0,12}".prop_map(|t| (None, Some(t))),
    ];
    (prop::collection::vec(layer(&FILTERS), 0..3), base).prop_map(|(filters, (base, tail))| Stack {
        filters,
        base,
        tail: tail.map(|text| Word { text, place: 0..0 }),
    })
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "[a-z(),\"'\\\\= é]{0,40}", wild in ".{0,40}") {
        for text in [text, wild] {
            for side in [Side::Accepter, Side::Connector] {
                match parse(&text, side) {
                    Ok(stack) => {
                        let again = parse(&stack.to_string(), side);
                        prop_assert_eq!(again.map(without_places), Ok(without_places(stack)));
                    }
                    Err(problem) => prop_assert!(text.get(problem.place).is_some()),
                }
            }
            let _ = split_words(&text, 0);
        }
    }

    #[test]
    fn what_is_written_is_read_again(stack in stack()) {
        let text = stack.to_string();
        prop_assert_eq!(parse(&text, Side::Accepter).map(without_places), Ok(stack), "{}", text);
    }
}
