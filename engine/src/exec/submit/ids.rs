//! What an id may look like.

use super::Submission;
use crate::error::Problem;
use crate::flow::Flow;

/// Longest id of a session, request, user or project, in bytes.
const ID_BYTES_MAX: usize = 200;
/// What the user of a session begins with that has none: the session's id follows.
pub(in crate::exec) const OWN_USER: &str = "session:";

/// Gives a session without a user the one that only it has, where the flow allows that; refuses such a user that a caller names.
pub(super) fn check_user(flow: &Flow, session: &str, user: &mut String) -> Result<(), Problem> {
    if user.is_empty() && !flow.requires_user() {
        *user = format!("{OWN_USER}{session}");
    } else if user.starts_with(OWN_USER) {
        let what = format!("begins with {OWN_USER:?}, as only the users of sessions without one do");
        return Err(Problem::new("user", what));
    }
    Ok(())
}

pub(super) fn id_problems(submission: &Submission) -> Vec<Problem> {
    let own = submission.user.starts_with(OWN_USER);
    let ids = [
        ("user", (!own).then_some(&submission.user)),
        ("session", submission.session.as_ref()),
        ("request", submission.request.as_ref()),
        ("project", submission.project.as_ref()),
    ];
    ids.into_iter()
        .filter_map(|(path, id)| Some(Problem::new(path, id_problem(id?)?)))
        .collect()
}

pub(super) fn id_problem(id: &str) -> Option<String> {
    if id.is_empty() {
        return Some("is required and may not be empty".into());
    }
    if id.len() > ID_BYTES_MAX {
        return Some(format!(
            "is {} bytes long; at most {ID_BYTES_MAX} are allowed",
            id.len()
        ));
    }
    id.contains(char::is_control).then(|| "has a control character".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_bounded_and_printable() {
        let submission = Submission {
            user: String::new(),
            session: Some("a\nb".into()),
            request: Some("x".repeat(ID_BYTES_MAX + 1)),
            project: Some("é/:ok".into()),
            ..Submission::default()
        };
        let paths: Vec<String> = id_problems(&submission)
            .into_iter()
            .map(|problem| problem.path)
            .collect();
        assert_eq!(paths, ["user", "session", "request"]);
    }
}
