//! Method and raw path → operation and labels, for any number of service tables at once.
//!
//! The path is split on `/` before anything is decoded, because ARNs travel as one encoded segment. Trailing slashes
//! count, literals beat labels. Some clients leave the slashes of an ARN bare; such a path is accepted where only one
//! reading of it is an operation.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::ApiError;
use crate::table::{Location, Method, Operation, ServiceTable, Shape};

/// Longest path that is looked at, in bytes. The longest legal label is an ARN of 2,048 characters, encoded.
const MAX_PATH_LEN: usize = 16 * 1024;

/// How many segments an ARN with bare slashes may spread over.
const MAX_ARN_SEGMENTS: usize = 5;

/// A precomputed tree over the templates of every operation.
#[derive(Debug)]
pub struct Router {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// Sorted by segment.
    literals: Vec<(&'static str, usize)>,
    label: Option<usize>,
    /// A `{name+}` label: takes the rest of the path.
    greedy: Option<usize>,
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    method: Method,
    table: &'static ServiceTable,
    operation: &'static Operation,
    /// Labels in the order of the path.
    labels: Vec<&'static str>,
}

/// What a request asks for.
#[derive(Debug, Clone)]
pub struct Match {
    pub table: &'static ServiceTable,
    pub operation: &'static Operation,
    /// Label name and decoded value, in the order of the path.
    pub labels: Vec<(&'static str, String)>,
}

impl Match {
    /// An operation that was named, not routed.
    pub fn named(table: &'static ServiceTable, operation: &'static Operation) -> Self {
        Self { table, operation, labels: Vec::new() }
    }

    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| *label == name).map(|(_, value)| value.as_str())
    }
}

/// Why a request line names no operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    #[error("There is no operation at this path.")]
    UnknownPath,
    #[error("This path does not take the method {0}.")]
    WrongMethod(String),
    #[error("The path is not valid: {0}.")]
    BadPath(&'static str),
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::UnknownPath | RouteError::WrongMethod(_) => {
                Self::unknown_operation(error.to_string())
            }
            RouteError::BadPath(_) => Self::new("SerializationException", error.to_string()),
        }
    }
}

impl Router {
    /// A router over the tables. Where two have the same template (`/tags/{resourceArn}`), the first whose label
    /// constraints accept the values is taken, else the first.
    pub fn new(tables: &[&'static ServiceTable]) -> Self {
        let mut router = Self { nodes: vec![Node::default()] };
        for table in tables {
            for operation in table.operations {
                router.insert(table, operation);
            }
        }
        for node in &mut router.nodes {
            node.literals.sort_unstable();
        }
        router
    }

    fn insert(&mut self, table: &'static ServiceTable, operation: &'static Operation) {
        let mut labels = Vec::new();
        let mut at = 0;
        for segment in template_segments(operation.uri) {
            let label = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            at = match label {
                None => self.child(
                    at,
                    |node| {
                        node.literals.iter().find(|(literal, _)| *literal == segment).map(|(_, child)| *child)
                    },
                    |node, child| node.literals.push((segment, child)),
                ),
                Some(name) if name.ends_with('+') => {
                    labels.push(name.trim_end_matches('+'));
                    self.child(at, |node| node.greedy, |node, child| node.greedy = Some(child))
                }
                Some(name) => {
                    labels.push(name);
                    self.child(at, |node| node.label, |node, child| node.label = Some(child))
                }
            };
        }
        self.nodes[at].routes.push(Route { method: operation.method, table, operation, labels });
    }

    /// The child that `find` names, made and registered by `add` if there is none.
    fn child(
        &mut self,
        at: usize,
        find: impl Fn(&Node) -> Option<usize>,
        add: impl Fn(&mut Node, usize),
    ) -> usize {
        if let Some(child) = find(&self.nodes[at]) {
            return child;
        }
        let child = self.nodes.len();
        self.nodes.push(Node::default());
        add(&mut self.nodes[at], child);
        child
    }

    /// The operation at a raw (still encoded) path without its query.
    pub fn route(&self, method: &str, raw_path: &str) -> Result<Match, RouteError> {
        if raw_path.len() > MAX_PATH_LEN {
            return Err(RouteError::BadPath("it is too long"));
        }
        let Some(path) = raw_path.strip_prefix('/') else {
            return Err(RouteError::BadPath("it does not start with a slash"));
        };
        let parsed = Method::parse(method);
        let mut search = Search { router: self, method: parsed, path_known: false, found: Vec::new() };
        let mut labels = Vec::new();
        search.exact(0, Some(path), &mut labels);
        if search.found.is_empty() && starts_arn_somewhere(path) {
            search.with_bare_arns(0, Some(path), &mut labels);
            if search.found.len() > 1 {
                return Err(RouteError::UnknownPath); // two readings are no reading
            }
        }
        let path_known = search.path_known;
        match (search.found.into_iter().next(), parsed) {
            (Some((node, raw)), Some(method)) => self.choose(node, method, &raw),
            _ if path_known => Err(RouteError::WrongMethod(method.chars().take(20).collect())),
            _ => Err(RouteError::UnknownPath),
        }
    }

    fn choose(&self, node: usize, method: Method, raw: &[&str]) -> Result<Match, RouteError> {
        let values = raw.iter().map(|segment| decode(segment)).collect::<Result<Vec<_>, _>>()?;
        let mut routes = self.nodes[node].routes.iter().filter(|route| route.method == method).peekable();
        let first = routes.peek().copied().ok_or(RouteError::UnknownPath)?;
        let several = self.nodes[node].routes.iter().filter(|route| route.method == method).count() > 1;
        let route =
            if several { routes.find(|route| route.accepts(&values)).unwrap_or(first) } else { first };
        let labels = route.labels.iter().copied().zip(values.into_iter().map(Cow::into_owned)).collect();
        Ok(Match { table: route.table, operation: route.operation, labels })
    }
}

impl Route {
    /// Whether the labels satisfy the patterns that this operation's model has for them.
    fn accepts(&self, values: &[Cow<'_, str>]) -> bool {
        let members = self.table.input_members(self.operation);
        self.labels.iter().zip(values).all(|(label, value)| {
            let member = members.iter().find(|member| member.location == Location::Label(label));
            match member.map(|member| self.table.shape(member.shape)) {
                Some(Shape::String { pattern: Some(pattern), .. }) => pattern.is_match(value),
                _ => true,
            }
        })
    }
}

/// A walk down the tree; `found` holds end nodes and the raw labels on the way.
struct Search<'r, 'p> {
    router: &'r Router,
    method: Option<Method>,
    path_known: bool,
    found: Vec<(usize, Vec<&'p str>)>,
}

impl<'p> Search<'_, 'p> {
    /// One segment a label. Stops at the first operation; literals are tried before labels.
    fn exact(&mut self, at: usize, rest: Option<&'p str>, labels: &mut Vec<&'p str>) -> bool {
        let node = &self.router.nodes[at];
        let Some(rest) = rest else { return self.end(at, labels) };
        let (segment, after) = split(rest);
        if let Ok(index) = node.literals.binary_search_by(|(literal, _)| (*literal).cmp(segment))
            && self.exact(node.literals[index].1, after, labels)
        {
            return true;
        }
        if let Some(child) = node.label
            && !segment.is_empty()
        {
            labels.push(segment);
            if self.exact(child, after, labels) {
                return true;
            }
            labels.pop();
        }
        if let Some(child) = node.greedy
            && !rest.is_empty()
        {
            labels.push(rest);
            if self.end(child, labels) {
                return true;
            }
            labels.pop();
        }
        false
    }

    /// As `exact`, but a label that starts like an ARN may take more segments; collects every reading.
    fn with_bare_arns(&mut self, at: usize, rest: Option<&'p str>, labels: &mut Vec<&'p str>) {
        let node = &self.router.nodes[at];
        let Some(rest) = rest else {
            self.end(at, labels);
            return;
        };
        let (segment, after) = split(rest);
        if let Ok(index) = node.literals.binary_search_by(|(literal, _)| (*literal).cmp(segment)) {
            self.with_bare_arns(node.literals[index].1, after, labels);
        }
        let Some(child) = node.label else { return };
        let mut end = segment.len();
        let mut after = after;
        for taken in 1..=MAX_ARN_SEGMENTS {
            if taken > 1 {
                let Some((next, following)) = after.map(split) else { return };
                if next.is_empty() {
                    return;
                }
                end += 1 + next.len();
                after = following;
            }
            if end == 0 {
                return;
            }
            labels.push(&rest[..end]);
            self.with_bare_arns(child, after, labels);
            labels.pop();
            if !starts_arn(segment) {
                return;
            }
        }
    }

    fn end(&mut self, at: usize, labels: &[&'p str]) -> bool {
        let routes = &self.router.nodes[at].routes;
        self.path_known |= !routes.is_empty();
        let here = routes.iter().any(|route| Some(route.method) == self.method);
        if here {
            self.found.push((at, labels.to_vec()));
        }
        here
    }
}

/// The first segment and what follows its slash, if there is one.
fn split(path: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'/', path.as_bytes()) {
        Some(slash) => (&path[..slash], Some(&path[slash + 1..])),
        None => (path, None),
    }
}

fn starts_arn(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    bytes.starts_with(b"arn:") || bytes.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"arn%3a"))
}

fn starts_arn_somewhere(path: &str) -> bool {
    path.split('/').any(starts_arn)
}

/// The segments of a template; `/agents/{agentId}/` has an empty third one.
pub fn template_segments(uri: &'static str) -> impl Iterator<Item = &'static str> {
    uri.strip_prefix('/').unwrap_or(uri).split('/')
}

fn decode(segment: &str) -> Result<Cow<'_, str>, RouteError> {
    percent_decode_str(segment).decode_utf8().map_err(|_| RouteError::BadPath("a label is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Protocol;

    const fn operation(name: &'static str, method: Method, uri: &'static str) -> Operation {
        Operation::untyped(name, method, uri)
    }

    static TABLE: ServiceTable = ServiceTable {
        name: "test",
        signing_name: "bedrock",
        protocol: Protocol::RestJson,
        operations: &[
            operation("Converse", Method::Post, "/model/{modelId}/converse"),
            operation("Create", Method::Put, "/agents/"),
            operation("Get", Method::Get, "/agents/{agentId}/"),
            operation("GetProfile", Method::Get, "/inference-profiles/{id}"),
            operation("InvokeInline", Method::Post, "/agents/{sessionId}"),
            operation("Object", Method::Get, "/objects/{key+}"),
            operation("Prepare", Method::Post, "/agents/{agentId}/"),
            operation("Validate", Method::Post, "/flows/validate-definition"),
            operation("PrepareFlow", Method::Post, "/flows/{id}"),
        ],
        shapes: &[],
        errors: &[],
    };

    fn route(method: &str, path: &str) -> Result<(&'static str, Vec<String>), RouteError> {
        let found = Router::new(&[&TABLE]).route(method, path)?;
        Ok((found.operation.name, found.labels.into_iter().map(|(_, value)| value).collect()))
    }

    fn hit(name: &'static str, labels: &[&str]) -> Result<(&'static str, Vec<String>), RouteError> {
        Ok((name, labels.iter().map(|label| (*label).to_owned()).collect()))
    }

    #[test]
    fn trailing_slashes_count_and_literals_beat_labels() {
        assert_eq!(route("POST", "/agents/A1/"), hit("Prepare", &["A1"]));
        assert_eq!(route("POST", "/agents/A1"), hit("InvokeInline", &["A1"]));
        assert_eq!(route("PUT", "/agents/"), hit("Create", &[]));
        assert_eq!(route("POST", "/flows/validate-definition"), hit("Validate", &[]));
        assert_eq!(route("POST", "/flows/F1"), hit("PrepareFlow", &["F1"]));
        assert_eq!(route("GET", "/objects/a/b%20c"), hit("Object", &["a/b c"]));
    }

    #[test]
    fn labels_are_decoded_one_by_one_and_arns_may_be_bare() {
        let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x";
        for encoded in [
            "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.x",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile%2Fus.x",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x",
            "arn%3aaws%3abedrock%3aus-east-1%3a123456789012%3ainference-profile/us.x",
        ] {
            assert_eq!(route("POST", &format!("/model/{encoded}/converse")), hit("Converse", &[arn]));
            assert_eq!(route("GET", &format!("/inference-profiles/{encoded}")), hit("GetProfile", &[arn]));
        }
        assert_eq!(
            route("POST", "/model/a/b/converse"),
            Err(RouteError::UnknownPath),
            "only ARNs may spread"
        );
    }

    #[test]
    fn what_is_not_there_is_told_from_a_wrong_method() {
        assert_eq!(route("GET", "/nowhere"), Err(RouteError::UnknownPath));
        assert_eq!(route("GET", "/model//converse"), Err(RouteError::UnknownPath), "labels are not empty");
        assert_eq!(route("GET", "/model/x/converse"), Err(RouteError::WrongMethod("GET".into())));
        assert_eq!(route("BREW", "/model/x/converse"), Err(RouteError::WrongMethod("BREW".into())));
        assert_eq!(route("GET", "model"), Err(RouteError::BadPath("it does not start with a slash")));
        assert_eq!(route("POST", "/model/%ff/converse"), Err(RouteError::BadPath("a label is not UTF-8")));
        let error = ApiError::from(RouteError::UnknownPath);
        assert_eq!((error.code.as_ref(), error.status(None).as_u16()), ("UnknownOperationException", 404));
    }
}
