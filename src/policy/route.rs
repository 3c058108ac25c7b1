use super::{HostPattern, PathPattern};
use crate::http::Method;
use std::cmp::Reverse;

/// `match = { … }` of a route.
#[derive(Clone, Debug)]
pub struct RouteMatch {
    /// Name of the listener; `None` takes all.
    pub listen: Option<Box<str>>,
    pub host: HostPattern,
    pub path: PathPattern,
    /// Any of these methods; empty takes all.
    pub methods: Vec<Method>,
}

/// Two routes of equal specificity that share requests. Indices into the list given to [`Router::new`], the
/// earlier one first; the config is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overlapping routes")]
pub struct Overlap {
    pub first: usize,
    pub second: usize,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// Index of the route in the list given to [`Router::new`].
    Route(usize),
    /// No route of this listener is for this host: 421 (RFC 9110 section 15.5.20).
    Misdirected,
    /// No route is for this path and method: 404.
    NoRoute,
}

/// Finds a request's route. The order in the config does not matter, the more specific route wins:
///
/// 1. host: an exact name, then the longer suffix, then any;
/// 2. path: more bytes before the first wildcard, then more literal segments, then an end instead of `**`;
/// 3. a list of methods before all methods, a named listener before all listeners.
#[derive(Clone, Debug, Default)]
pub struct Router {
    /// Most specific first, with the index that the caller knows.
    routes: Vec<(usize, RouteMatch)>,
}

impl Router {
    /// Orders the routes.
    ///
    /// # Errors
    /// [`Overlap`] when two routes are equally specific and a request could take either.
    pub fn new(routes: Vec<RouteMatch>) -> Result<Router, Overlap> {
        for (second, later) in routes.iter().enumerate() {
            let rival = |earlier: &RouteMatch| earlier.rank() == later.rank() && earlier.intersects(later);
            if let Some(first) = routes[..second].iter().position(rival) {
                return Err(Overlap { first, second });
            }
        }
        let mut routes: Vec<_> = routes.into_iter().enumerate().collect();
        routes.sort_by_key(|(_, route)| Reverse(route.rank()));
        Ok(Router { routes })
    }

    /// The route of a request; allocates nothing.
    ///
    /// `listen` is the listener's name, `authority` in lower case with or without port, `path` canonical.
    pub fn route(&self, listen: &str, authority: &str, method: &Method, path: &str) -> Routing {
        let mut misdirected = true;
        for (index, route) in &self.routes {
            if route.listen.as_deref().is_some_and(|name| name != listen) || !route.host.matches(authority) {
                continue;
            }
            misdirected = false;
            if (route.methods.is_empty() || route.methods.contains(method)) && route.path.matches(path) {
                return Routing::Route(*index);
            }
        }
        let named =
            |(_, route): &(usize, RouteMatch)| route.listen.as_deref().is_none_or(|name| name == listen);
        if misdirected && self.routes.iter().any(named) { Routing::Misdirected } else { Routing::NoRoute }
    }
}

/// Greater is more specific.
type Rank = ((u8, usize), (usize, usize, bool), bool, bool);

impl RouteMatch {
    fn rank(&self) -> Rank {
        (self.host.specificity(), self.path.specificity(), !self.methods.is_empty(), self.listen.is_some())
    }

    /// Whether some request fits both. Ranks are equal, so both name methods and listeners or neither does.
    fn intersects(&self, other: &RouteMatch) -> bool {
        self.listen == other.listen
            && self.host.intersects(&other.host)
            && self.path.intersects(&other.path)
            && (self.methods.is_empty() || self.methods.iter().any(|m| other.methods.contains(m)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(listen: &str, host: &str, path: &str, methods: &[Method]) -> RouteMatch {
        RouteMatch {
            listen: (!listen.is_empty()).then(|| listen.into()),
            host: if host.is_empty() { HostPattern::Any } else { HostPattern::parse(host).unwrap() },
            path: PathPattern::parse(path).unwrap(),
            methods: methods.to_vec(),
        }
    }

    #[test]
    fn the_more_specific_route_wins() {
        let router = Router::new(vec![
            route("agents", "", "/**", &[]),
            route("agents", "", "/v1/**", &[]),
            route("agents", "", "/v1/models", &[]),
            route("agents", "*.b.example", "/v1/**", &[]),
            route("agents", "a.b.example", "/**", &[]),
            route("agents", "", "/v1/**", &[Method::Delete]),
            route("agents", "", "/v1/*/content", &[]),
            route("agents", "", "/v1/files/*", &[]),
        ])
        .unwrap();
        let check = |host, method: &str, path, index| {
            let routing = router.route("agents", host, &Method::from_token(method), path);
            assert_eq!(routing, Routing::Route(index), "{method} {host} {path}");
        };
        check("x", "GET", "/", 0);
        check("x", "OPTIONS", "*", 0);
        check("x", "POST", "/v1/messages", 1);
        check("x", "GET", "/v1/models", 2);
        check("c.b.example", "GET", "/v1/models", 3);
        check("a.b.example:443", "GET", "/v1/models", 4);
        check("x", "DELETE", "/v1/messages", 5);
        check("x", "GET", "/v1/a/content", 6);
        check("x", "GET", "/v1/files/content", 7);
    }

    #[test]
    fn a_request_without_a_route_says_why() {
        let router = Router::new(vec![
            route("agents", "a.example", "/v1/**", &[]),
            route("open", "", "/x", &[Method::Get]),
        ])
        .unwrap();
        let check = |listen, host, path, routing| {
            assert_eq!(router.route(listen, host, &Method::Post, path), routing, "{listen} {host} {path}");
        };
        check("agents", "a.example", "/v1/x", Routing::Route(0));
        check("agents", "a.example", "/v2", Routing::NoRoute);
        check("agents", "b.example", "/v1/x", Routing::Misdirected);
        check("agents", "", "/v1/x", Routing::Misdirected);
        check("open", "b.example", "/x", Routing::NoRoute);
        check("none", "a.example", "/v1/x", Routing::NoRoute);
    }

    #[test]
    fn routes_that_share_requests_and_rank_are_refused() {
        let check = |a: RouteMatch, b: RouteMatch, overlap: bool| {
            let expected = overlap.then_some(Overlap { first: 0, second: 1 });
            assert_eq!(Router::new(vec![a.clone(), b.clone()]).err(), expected, "{a:?} {b:?}");
        };
        check(route("", "", "/a", &[]), route("", "", "/a", &[]), true);
        check(route("", "", "/a/*/c", &[]), route("", "", "/a/b/*", &[]), false);
        check(route("", "", "/*/b", &[]), route("", "", "/*/c", &[]), false);
        check(route("", "", "/*/a/*", &[]), route("", "", "/*/*/a", &[]), true);
        check(route("x", "", "/a", &[]), route("y", "", "/a", &[]), false);
        check(route("x", "", "/a", &[]), route("", "", "/a", &[]), false);
        check(route("", "a.b", "/a", &[]), route("", "b.b", "/a", &[]), false);
        check(route("", "", "/a", &[Method::Get]), route("", "", "/a", &[Method::Post]), false);
        check(route("", "", "/a", &[Method::Get]), route("", "", "/a", &[Method::Get]), true);
    }
}
