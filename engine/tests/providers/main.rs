//! The contract of models of providers: for each protocol, what is sent and what is made of the answer, against a server on this
//! machine that plays recordings (`fixtures/<protocol>/<case>.sse`). Requests are compared with `<case>.request.json`.

mod answers;
mod audio;
mod failures;
mod real;
mod requests;
mod secrets;
mod server;
mod steps;
mod support;
mod timeouts;
