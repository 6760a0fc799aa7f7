//! The arguments of a command as COMMAND DOCS describes them, parsed from the row's `syntax`.
//!
//! ```text
//! WORD                a literal word (no lower-case letter in it); before a name, the name's token
//! name                a value
//! [ … ]               optional
//! < … >               a group that must be there
//! a | b               one of
//! x [x ...]           x once or more; also for several words: key value [key value ...]
//! [...]               what stands before may be repeated
//! name:kind           a value that is another kind than others of its name: start:string
//! ```
//!
//! The kinds matter to redis-cli: it shows how a line goes on as long as what was typed is of the kinds told.
//!
//! Invariant: the parser takes any text; what does not fit the notation becomes plain arguments.

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any string.
    String,
    /// An integer.
    Integer,
    /// A number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// A point in time.
    UnixTime,
    /// A literal word.
    PureToken,
    /// One of its children.
    OneOf,
    /// All of its children.
    Block,
}

impl Kind {
    /// The name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::Integer => "integer",
            Kind::Double => "double",
            Kind::Key => "key",
            Kind::Pattern => "pattern",
            Kind::UnixTime => "unix-time",
            Kind::PureToken => "pure-token",
            Kind::OneOf => "oneof",
            Kind::Block => "block",
        }
    }

    /// What a value is, by its name.
    fn of_value(name: &str) -> Kind {
        match name {
            "key" | "key1" | "key2" | "newkey" | "source" | "destination" | "destkey"
            | "sourcekey" => Kind::Key,
            "pattern" => Kind::Pattern,
            "count" | "offset" | "start" | "end" | "stop" | "len" | "seconds" | "milliseconds"
            | "increment" | "decrement" | "index" | "index1" | "index2" | "numkeys"
            | "numfields" | "cursor" | "timeout" | "db" | "destination-db" | "protover"
            | "client-id" | "maxage" | "version" | "min-match-len" | "bit" | "dbid" | "size"
            | "slot" | "port" | "rank" | "num-matches" | "limit" | "ttl" | "frequency"
            | "numreplicas" | "entries-read" | "entries-added" | "ms" | "weight" => Kind::Integer,
            "score" | "longitude" | "latitude" | "radius" | "width" | "height" => Kind::Double,
            _ if name.starts_with("unix-time") => Kind::UnixTime,
            _ => Kind::String,
        }
    }
}

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The literal word before it, or itself for a [`Kind::PureToken`].
    pub token: Option<String>,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// Each repetition has the token again.
    pub multiple_token: bool,
    /// The parts of a group.
    pub children: Vec<Argument>,
}

impl Argument {
    /// The value that a word of the notation stands for.
    fn value(word: &str) -> Argument {
        match annotated(word) {
            Some((name, kind)) => Argument::new(name, kind),
            None => Argument::new(word, Kind::of_value(word)),
        }
    }

    fn new(name: impl Into<String>, kind: Kind) -> Argument {
        Argument {
            name: name.into(),
            kind,
            token: None,
            optional: false,
            multiple: false,
            multiple_token: false,
            children: Vec::new(),
        }
    }

    fn block(children: Vec<Argument>) -> Argument {
        let name = children
            .first()
            .map_or("block", |child| &child.name)
            .to_string();
        Argument {
            children,
            ..Argument::new(name, Kind::Block)
        }
    }
}

/// The kinds that a word may name.
const NAMED: [Kind; 3] = [Kind::String, Kind::Integer, Kind::Double];

/// The parts of `name:kind`.
fn annotated(word: &str) -> Option<(&str, Kind)> {
    let (name, kind) = word.rsplit_once(':')?;
    let kind = NAMED.into_iter().find(|named| named.name() == kind)?;
    Some((name, kind))
}

/// A row's syntax for people, without the kinds.
pub fn plain(syntax: &str) -> String {
    NAMED.iter().fold(syntax.to_owned(), |text, kind| {
        text.replace(&format!(":{}", kind.name()), "")
    })
}

/// The arguments that a row's syntax describes.
pub fn arguments(syntax: &str) -> Vec<Argument> {
    let words = words(syntax);
    let mut rest = &words[..];
    let mut alternatives = alternatives(&mut rest);
    match alternatives.len() {
        1 => sequence(&alternatives.remove(0)),
        _ => vec![one_of(&alternatives)],
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Node<'a> {
    Word(&'a str),
    Optional(Vec<Vec<Node<'a>>>),
    Group(Vec<Vec<Node<'a>>>),
    Dots,
}

fn words(syntax: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = syntax.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = if "[]<>|".contains(first) {
            1
        } else {
            let end = |c: char| c.is_whitespace() || "[]<>|".contains(c);
            rest.find(end).unwrap_or(rest.len())
        };
        words.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    words
}

/// The sequences up to the bracket that closes them, which is taken as well.
fn alternatives<'a>(rest: &mut &[&'a str]) -> Vec<Vec<Node<'a>>> {
    let mut all = vec![Vec::new()];
    while let Some((word, after)) = rest.split_first() {
        *rest = after;
        let node = match *word {
            "]" | ">" => break,
            "|" => {
                all.push(Vec::new());
                continue;
            }
            "[" => Node::Optional(alternatives(rest)),
            "<" => Node::Group(alternatives(rest)),
            "..." => Node::Dots,
            word => Node::Word(word),
        };
        all.last_mut().expect("never empty").push(node);
    }
    all
}

fn is_token(word: &str) -> bool {
    !word.chars().any(|c| c.is_ascii_lowercase())
}

fn one_of(alternatives: &[Vec<Node<'_>>]) -> Argument {
    let mut children = Vec::new();
    for nodes in alternatives {
        let mut parts = sequence(nodes);
        match parts.len() {
            0 => {}
            1 => children.push(parts.remove(0)),
            _ => children.push(Argument::block(parts)),
        }
    }
    let names: Vec<&str> = children.iter().map(|child| child.name.as_str()).collect();
    Argument {
        name: names.join("_"),
        children,
        ..Argument::new("", Kind::OneOf)
    }
}

fn group(alternatives: &[Vec<Node<'_>>]) -> Argument {
    if alternatives.len() > 1 {
        return one_of(alternatives);
    }
    let mut parts = sequence(&alternatives[0]);
    match parts.len() {
        1 => parts.remove(0),
        _ => Argument::block(parts),
    }
}

fn sequence(nodes: &[Node<'_>]) -> Vec<Argument> {
    // Each argument with the node that it begins at, so that a repetition finds what it repeats.
    let mut parts: Vec<(usize, Argument)> = Vec::new();
    let mut at = 0;
    while at < nodes.len() {
        let begin = at;
        at += 1;
        match &nodes[begin] {
            Node::Dots => {
                if let Some((_, last)) = parts.last_mut() {
                    last.multiple = true;
                }
            }
            Node::Optional(alternatives) => match repeated(alternatives) {
                Some(body) => repeat(&mut parts, nodes, begin, body),
                None => {
                    let mut argument = group(alternatives);
                    argument.optional = true;
                    parts.push((begin, argument));
                }
            },
            Node::Group(alternatives) => parts.push((begin, group(alternatives))),
            Node::Word(word) if !is_token(word) => {
                parts.push((begin, Argument::value(word)));
            }
            Node::Word(token) => {
                let mut values = Vec::new();
                while let Some(Node::Word(word)) = nodes.get(at)
                    && !is_token(word)
                {
                    values.push(Argument::value(word));
                    at += 1;
                }
                let mut argument = match (values.len(), nodes.get(at)) {
                    (0, Some(Node::Group(alternatives))) => {
                        at += 1;
                        group(alternatives)
                    }
                    (0, _) => Argument::new(token.to_ascii_lowercase(), Kind::PureToken),
                    (1, _) => values.remove(0),
                    _ => Argument {
                        name: token.to_ascii_lowercase(),
                        children: values,
                        ..Argument::new("", Kind::Block)
                    },
                };
                argument.token = Some(token.to_string());
                parts.push((begin, argument));
            }
        }
    }
    parts.into_iter().map(|(_, argument)| argument).collect()
}

/// Marks a token's value as repeatable, or the last `count` of its values when there are more.
fn repeat_last(argument: &mut Argument, count: usize) {
    let begin = match argument.kind {
        Kind::Block => argument.children.len().saturating_sub(count),
        _ => 0,
    };
    if begin == 0 {
        argument.multiple = true;
        return;
    }
    let mut repeated = argument.children.split_off(begin);
    let mut last = match repeated.len() {
        1 => repeated.remove(0),
        _ => Argument::block(repeated),
    };
    last.multiple = true;
    argument.children.push(last);
}

/// The body of `[body ...]`.
fn repeated<'a, 'b>(alternatives: &'b [Vec<Node<'a>>]) -> Option<&'b [Node<'a>]> {
    match alternatives {
        [nodes] => match nodes.split_last() {
            Some((Node::Dots, body)) => Some(body),
            _ => None,
        },
        _ => None,
    }
}

/// Marks as repeatable what stands before `[body ...]` at `nodes[end]`, or adds the body as an argument of its own.
fn repeat(parts: &mut Vec<(usize, Argument)>, nodes: &[Node<'_>], end: usize, body: &[Node<'_>]) {
    if body.is_empty() {
        if let Some((_, last)) = parts.last_mut() {
            last.multiple = true;
        }
        return;
    }
    let begin = end
        .checked_sub(body.len())
        .filter(|&begin| &nodes[begin..end] == body);
    let first = begin.and_then(|begin| parts.iter().position(|(at, _)| *at == begin));
    match (begin, first) {
        (_, Some(first)) => {
            let mut repeated: Vec<Argument> =
                parts.drain(first..).map(|(_, argument)| argument).collect();
            let mut argument = match repeated.len() {
                1 => repeated.remove(0),
                _ => Argument::block(repeated),
            };
            argument.multiple = true;
            argument.multiple_token = argument.token.is_some() && argument.kind != Kind::PureToken;
            parts.push((end - body.len(), argument));
        }
        // The body is the value of a token, `ID id [id ...]`, or the last of its values: `FIELDS numfields field [field ...]`.
        (Some(_), None) => {
            if let Some((_, last)) = parts.last_mut() {
                repeat_last(last, body.len());
            }
        }
        (None, _) => {
            let mut argument = group(&[body.to_vec()]);
            argument.optional = true;
            argument.multiple = true;
            parts.push((end, argument));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The arguments in one line: `name:kind`, `=TOKEN`, `?` optional, `*` multiple, `**` with the token.
    fn shape(arguments: &[Argument]) -> String {
        let one = |argument: &Argument| {
            let mut text = match argument.kind {
                Kind::OneOf | Kind::Block => {
                    format!("{}({})", argument.kind.name(), shape(&argument.children))
                }
                Kind::PureToken => String::new(),
                kind => format!("{}:{}", argument.name, kind.name()),
            };
            if let Some(token) = &argument.token {
                text += &format!("={token}");
            }
            for (set, mark) in [
                (argument.optional, "?"),
                (argument.multiple, "*"),
                (argument.multiple_token, "*"),
            ] {
                text += if set { mark } else { "" };
            }
            text
        };
        arguments.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(syntax: &str, expected: &str) {
        assert_eq!(shape(&arguments(syntax)), expected, "{syntax}");
    }

    #[test]
    fn plain_values_and_options() {
        check("", "");
        check("key value", "key:key value:string");
        check(
            "key value [NX | XX] [GET] [EX seconds | EXAT unix-time-seconds | KEEPTTL]",
            "key:key value:string oneof(=NX =XX)? =GET? \
             oneof(seconds:integer=EX unix-time-seconds:unix-time=EXAT =KEEPTTL)?",
        );
        check("<ON | OFF>", "oneof(=ON =OFF)");
        check("[NOSAVE | SAVE] [NOW]", "oneof(=NOSAVE =SAVE)? =NOW?");
    }

    #[test]
    fn repetitions_find_what_they_repeat() {
        check("key [key ...]", "key:key*");
        check("key value [key value ...]", "block(key:key value:string)*");
        check("[section [section ...]]", "section:string?*");
        check("[ID client-id [client-id ...]]", "client-id:integer=ID?*");
        check(
            "[PREFIX prefix [PREFIX prefix ...]]",
            "prefix:string=PREFIX?**",
        );
        check("VERSION [arg ...]", "=VERSION arg:string?*");
        check(
            "FIELDS numfields field [field ...]",
            "block(numfields:integer field:string*)=FIELDS",
        );
        check(
            "FIELDS numfields field value [field value ...]",
            "block(numfields:integer block(field:string value:string)*)=FIELDS",
        );
    }

    #[test]
    fn groups_nest() {
        check(
            "[protover [AUTH username password] [SETNAME clientname]]",
            "block(protover:integer block(username:string password:string)=AUTH? clientname:string=SETNAME?)?",
        );
        check(
            "[TYPE <NORMAL | MASTER>] [BY pattern] [LIMIT offset count]",
            "oneof(=NORMAL =MASTER)=TYPE? pattern:pattern=BY? block(offset:integer count:integer)=LIMIT?",
        );
        check(
            "ip:port | <[ID client-id] | [USER username]> [...]",
            "oneof(ip:port:string oneof(client-id:integer=ID? username:string=USER?)*)",
        );
    }

    #[test]
    fn kinds_can_be_named() {
        check(
            "key start:string end:string",
            "key:key start:string end:string",
        );
        check(
            "[BY radius:integer ip:port]",
            "block(radius:integer ip:port:string)=BY?",
        );
        assert_eq!(plain("key start:string [ip:port]"), "key start [ip:port]");
    }

    #[test]
    fn any_text_is_taken() {
        for text in [
            "]",
            "[",
            "<|",
            "...",
            "[...]",
            "| |",
            "A [",
            "[[[x ...] ...] ...]",
            "> a",
        ] {
            arguments(text);
        }
    }
}
