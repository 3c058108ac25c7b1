//! One entry of the table of what is served: method, path, handler, and what the API's description says about
//! them. The router and the description are built from the same entries, so that neither knows more than the
//! other.

use super::routes::Desk;
use axum::{
    Router,
    handler::Handler,
    http::Method,
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::sync::Arc;

/// Makes the schema of a type.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What is served for one method at one path.
pub(super) struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    handler: MethodRouter<Arc<Desk>>,
    /// One line.
    pub summary: &'static str,
    /// Fields of the query.
    pub query: Option<SchemaOf>,
    /// Header fields of the request that change what it does, with what they are for.
    pub fields: Vec<(&'static str, &'static str)>,
    /// The body and its media type; others take none.
    pub body: Option<(&'static str, SchemaOf)>,
    /// Every good answer. Whatever else comes is a problem document.
    pub answers: Vec<Answer>,
}

/// A good answer.
pub(super) struct Answer {
    pub status: u16,
    pub content: Content,
}

/// What is in it.
pub(super) enum Content {
    Nothing,
    Json(SchemaOf),
    /// Something else, by its media types.
    Media(Vec<&'static str>),
}

/// `GET`, and `HEAD` with it.
pub(super) fn get<H: Handler<T, Arc<Desk>>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint::new(Method::GET, path, on(MethodFilter::GET, handler))
}

/// `POST`.
pub(super) fn post<H: Handler<T, Arc<Desk>>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint::new(Method::POST, path, on(MethodFilter::POST, handler))
}

/// `PUT`.
pub(super) fn put<H: Handler<T, Arc<Desk>>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint::new(Method::PUT, path, on(MethodFilter::PUT, handler))
}

/// `DELETE`.
pub(super) fn delete<H: Handler<T, Arc<Desk>>, T: 'static>(path: &'static str, handler: H) -> Endpoint {
    Endpoint::new(Method::DELETE, path, on(MethodFilter::DELETE, handler))
}

/// The router of a table.
pub(super) fn router(table: Vec<Endpoint>) -> Router<Arc<Desk>> {
    table.into_iter().fold(Router::new(), |router, one| router.route(one.path, one.handler))
}

impl Endpoint {
    fn new(method: Method, path: &'static str, handler: MethodRouter<Arc<Desk>>) -> Endpoint {
        let (fields, answers) = (Vec::new(), Vec::new());
        Endpoint { method, path, handler, summary: "", query: None, fields, body: None, answers }
    }

    /// Says in one line what it does.
    pub(super) fn says(self, summary: &'static str) -> Endpoint {
        Endpoint { summary, ..self }
    }

    /// Takes the fields of `T` in its query.
    pub(super) fn query<T: JsonSchema>(self) -> Endpoint {
        Endpoint { query: Some(T::json_schema), ..self }
    }

    /// Takes a header field.
    pub(super) fn field(mut self, name: &'static str, what: &'static str) -> Endpoint {
        self.fields.push((name, what));
        self
    }

    /// Takes `T` as its JSON body.
    pub(super) fn body<T: JsonSchema>(self) -> Endpoint {
        Endpoint { body: Some(("application/json", SchemaGenerator::subschema_for::<T>)), ..self }
    }

    /// Takes `T` as a form of a page.
    pub(super) fn form<T: JsonSchema>(self) -> Endpoint {
        let kind = "application/x-www-form-urlencoded";
        Endpoint { body: Some((kind, SchemaGenerator::subschema_for::<T>)), ..self }
    }

    /// Answers 200 with `T`.
    pub(super) fn json<T: JsonSchema>(self) -> Endpoint {
        self.json_with::<T>(200)
    }

    /// Answers `status` with `T`.
    pub(super) fn json_with<T: JsonSchema>(self, status: u16) -> Endpoint {
        self.answer(status, Content::Json(SchemaGenerator::subschema_for::<T>))
    }

    /// Answers 200 with something that is not JSON.
    pub(super) fn media(self, kind: &'static str) -> Endpoint {
        self.answer(200, Content::Media(vec![kind]))
    }

    /// Its answer may also be of another kind.
    pub(super) fn also(mut self, kind: &'static str) -> Endpoint {
        if let Some(Answer { content: Content::Media(kinds), .. }) = self.answers.last_mut() {
            kinds.push(kind);
        }
        self
    }

    /// Answers 206 with a part of what it answers.
    pub(super) fn partial(mut self) -> Endpoint {
        let kinds = self.answers.iter().find_map(|one| match &one.content {
            Content::Media(kinds) => Some(kinds.clone()),
            _ => None,
        });
        self.answers.push(Answer { status: 206, content: Content::Media(kinds.unwrap_or_default()) });
        self
    }

    /// Answers `status` with nothing.
    pub(super) fn empty(self, status: u16) -> Endpoint {
        self.answer(status, Content::Nothing)
    }

    fn answer(mut self, status: u16, content: Content) -> Endpoint {
        self.answers.push(Answer { status, content });
        self
    }
}
