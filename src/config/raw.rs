//! Connections as written: the meeting point of the legacy and the YAML front end.

use super::error::Span;

/// A piece of text with the place it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

/// One configuration source (with all that it includes) as read by a front end.
#[derive(Clone, Debug, Default)]
pub struct RawFile {
    /// Connections in file order.
    pub connections: Vec<RawConnection>,
    /// Rotators in file order.
    pub rotators: Vec<RawRotator>,
    /// Admin ports in file order; only the first is used.
    pub admins: Vec<RawAdmin>,
    /// serbroker's own top-level settings (`metrics`, …) as path and scalar text.
    pub settings: Vec<(Spanned<String>, RawValue)>,
    /// LEDs in file order.
    pub leds: Vec<RawLed>,
}

/// A connection as written.
#[derive(Clone, Debug)]
pub struct RawConnection {
    /// Anchor, key or port text.
    pub name: Spanned<String>,
    /// `enable:`; legacy `off`.
    pub enabled: bool,
    /// Accepter string, substitutions done.
    pub accepter: Spanned<String>,
    /// Connector string, substitutions done.
    pub connector: Spanned<String>,
    /// `timeout:` text.
    pub timeout: Option<Spanned<String>>,
    /// The `default:` values that were in force, named `class:name`, or `:name` without a class.
    pub defaults: Vec<RawOption>,
    /// Options in order; later ones win.
    pub options: Vec<RawOption>,
    /// The front end that read it.
    pub origin: Origin,
}

/// A rotator as written.
#[derive(Clone, Debug)]
pub struct RawRotator {
    /// Anchor, key or port text.
    pub name: Spanned<String>,
    /// Accepter string, substitutions done.
    pub accepter: Spanned<String>,
    /// Names of connections.
    pub members: Vec<Spanned<String>>,
    /// The `default:` values that were in force, as in [`RawConnection::defaults`].
    pub defaults: Vec<RawOption>,
    /// Options in order; later ones win.
    pub options: Vec<RawOption>,
    /// The front end that read it.
    pub origin: Origin,
}

/// An LED as written.
#[derive(Clone, Debug)]
pub struct RawLed {
    /// Anchor, key or name of the LED: line.
    pub name: Spanned<String>,
    /// `driver:`.
    pub driver: Option<Spanned<String>>,
    /// Options in order; later ones win.
    pub options: Vec<(Spanned<String>, Spanned<RawValue>)>,
}

/// An admin port as written.
#[derive(Clone, Debug)]
pub struct RawAdmin {
    /// Where it stands, for mistakes that have no place of their own.
    pub place: Span,
    /// Accepter string, substitutions done.
    pub accepter: Spanned<String>,
    /// The `default:` values that were in force, named `class:name`, or `:name` without a class.
    pub defaults: Vec<RawOption>,
    /// Options in order; later ones win.
    pub options: Vec<RawOption>,
}

/// Name and value of an option.
#[derive(Clone, Debug)]
pub struct RawOption {
    /// Name as in the options table.
    pub name: Spanned<String>,
    /// Value; `None`: given without one.
    pub value: Option<Spanned<RawValue>>,
}

/// A value of YAML shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawValue {
    /// Text, substitutions done.
    Scalar(String),
    /// A sequence.
    List(Vec<Spanned<RawValue>>),
    /// A mapping.
    Map(Vec<(Spanned<String>, Spanned<RawValue>)>),
}

/// Which front end read a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A one-line entry.
    Legacy,
    /// YAML, version 1 or 2.
    Yaml,
}
