//! Members of a request of which its type chooses one: that one must be there, and no other, so that nothing that was
//! said is passed over in silence.

use craton_wire::ApiError;

/// `because` says what chooses: `the type is S3`. `wanted` may be no member at all.
pub(crate) fn only(because: &str, wanted: &str, given: &[(&str, bool)]) -> Result<(), ApiError> {
    for (name, is_given) in given {
        match (*name == wanted, is_given) {
            (true, false) => {
                return Err(ApiError::validation(format!("{name} is required when {because}.")));
            }
            (false, true) => {
                return Err(ApiError::validation(format!("{name} can't be given when {because}.")));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn the_chosen_one_and_no_other() {
        let check = |wanted, a, b| only("the type is A", wanted, &[("a", a), ("b", b)]);
        let said = |wanted, a, b| check(wanted, a, b).unwrap_err().message;
        assert!(check("a", true, false).is_ok() && check("", false, false).is_ok());
        assert_eq!(said("a", false, false), "a is required when the type is A.");
        assert_eq!(said("a", true, true), "b can't be given when the type is A.");
        assert_eq!(said("", true, false), "a can't be given when the type is A.");
    }
}
