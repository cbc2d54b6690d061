//! A document as a tree whose nodes know their lines.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::problem::Cause;

/// A value, and the line where it is written; where an alias stands for it, that of its anchor.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) value: Rc<Value>,
}

/// Scalars are text, whatever else they would be: `name: 123` is a name that the API server refuses,
/// and nothing to fail for.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Scalar(String),
    Sequence(Vec<Node>),
    Mapping(Mapping),
}

pub(super) type Mapping = BTreeMap<String, Node>;

/// Why a document has no tree, and in which of its lines.
pub(super) type Broken = (u32, Cause);

/// Reads the document that a text begins with. Each element of a list at `items` is given to `item` at
/// once and not kept: a whole cluster may be in one list.
pub(super) fn read(
    text: &str,
    item: &mut dyn FnMut(Node) -> Result<(), Broken>,
) -> Result<Node, Broken> {
    let options = granit_parser::options! { emit_comments: false };
    let mut tree = Tree {
        parser: Parser::new_from_str_with_options(text, options),
        anchors: HashMap::new(),
        merged: 0,
        most: MOST_NODES + text.len(),
    };
    let root = tree.root(item)?;
    // What follows may show that it was not as it seemed.
    loop {
        match tree.event()? {
            (Event::StreamEnd, _) => return Ok(root),
            (Event::DocumentEnd, _) => {}
            (_, span) => {
                let text = "something after the end of the document".to_owned();
                return Err((line(span), Cause::Syntax(text)));
            }
        }
    }
}

/// Nodes that aliases may add to those that are written.
pub(super) const MOST_NODES: usize = 100_000;

struct Tree<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    /// Entries that merge keys (`<<`) brought.
    merged: usize,
    most: usize,
}

impl<'t> Tree<'t> {
    fn event(&mut self) -> Result<(Event<'t>, Span), Broken> {
        match self.parser.next_event() {
            Some(event) => event.map_err(|error| broken(&error)),
            None => Err((1, Cause::Syntax("the document does not end".to_owned()))),
        }
    }

    fn root(&mut self, item: &mut dyn FnMut(Node) -> Result<(), Broken>) -> Result<Node, Broken> {
        loop {
            match self.event()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::MappingStart(_, anchor, _), span) => {
                    let mapping = self.mapping(Some(item))?;
                    return Ok(self.anchored(anchor, line(span), Value::Mapping(mapping)));
                }
                (event, span) => return self.node(event, span),
            }
        }
    }

    /// The parser bounds the depth: 255 blocks and 255 flow collections.
    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Broken> {
        let line = line(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let null = style == ScalarStyle::Plain && tag.is_none() && is_null(&text);
                let value = if null {
                    Value::Null
                } else {
                    Value::Scalar(text.into_owned())
                };
                Ok(self.anchored(anchor, line, value))
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut elements = Vec::new();
                loop {
                    match self.event()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => elements.push(self.node(event, span)?),
                    }
                }
                Ok(self.anchored(anchor, line, Value::Sequence(elements)))
            }
            Event::MappingStart(_, anchor, _) => {
                let mapping = self.mapping(None)?;
                Ok(self.anchored(anchor, line, Value::Mapping(mapping)))
            }
            // Of a node that is not finished there is none yet: it cannot hold itself.
            Event::Alias(anchor) => self.anchors.get(&anchor).cloned().ok_or_else(|| {
                let text = "an alias inside of what it stands for";
                (line, Cause::Syntax(text.to_owned()))
            }),
            other => Err((line, Cause::Syntax(format!("unexpected {other:?}")))),
        }
    }

    fn mapping(
        &mut self,
        mut item: Option<&mut dyn FnMut(Node) -> Result<(), Broken>>,
    ) -> Result<Mapping, Broken> {
        let mut entries = Mapping::new();
        let mut merges = Vec::new();
        loop {
            let (key, plain, at) = match self.event()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(text, style, ..), span) => {
                    (text, style == ScalarStyle::Plain, line(span))
                }
                (_, span) => {
                    let text = "a key that is no string".to_owned();
                    return Err((line(span), Cause::Syntax(text)));
                }
            };
            let value = match (self.event()?, item.as_deref_mut()) {
                ((Event::SequenceStart(_, 0, _), span), Some(item)) if key == "items" => {
                    self.items(span, item)?
                }
                ((event, span), _) => self.node(event, span)?,
            };
            if plain && key == "<<" {
                merges.push(value);
                continue;
            }
            match entries.entry(key.into_owned()) {
                Entry::Vacant(place) => drop(place.insert(value)),
                Entry::Occupied(place) => return Err((at, Cause::TwiceKey(place.key().clone()))),
            }
        }
        for merge in merges {
            self.merge(&mut entries, &merge)?;
        }
        Ok(entries)
    }

    /// Elements of a list of objects. What stays is how many they were: nothing.
    fn items(
        &mut self,
        span: Span,
        item: &mut dyn FnMut(Node) -> Result<(), Broken>,
    ) -> Result<Node, Broken> {
        loop {
            match self.event()? {
                (Event::SequenceEnd, _) => break,
                (event, span) => item(self.node(event, span)?)?,
            }
        }
        Ok(self.anchored(0, line(span), Value::Null))
    }

    /// YAML 1.1's merge key, which kubectl knows: entries that are not there yet.
    fn merge(&mut self, entries: &mut Mapping, from: &Node) -> Result<(), Broken> {
        let sources = match &*from.value {
            Value::Sequence(sources) => sources.as_slice(),
            _ => std::slice::from_ref(from),
        };
        for source in sources {
            let Value::Mapping(mapping) = &*source.value else {
                let text = "<< with no mapping".to_owned();
                return Err((source.line, Cause::Syntax(text)));
            };
            self.merged += mapping.len();
            if self.merged > self.most {
                return Err((source.line, Cause::Aliases(self.most)));
            }
            for (key, value) in mapping {
                entries.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        Ok(())
    }

    fn anchored(&mut self, anchor: usize, line: u32, value: Value) -> Node {
        let node = Node {
            line,
            value: Rc::new(value),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        node
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn line(span: Span) -> u32 {
    number(span.start.line())
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

fn broken(error: &ScanError) -> Broken {
    (
        number(error.marker().line()),
        Cause::Syntax(error.info().clone()),
    )
}
