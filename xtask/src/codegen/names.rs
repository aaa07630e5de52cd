//! Model names → Rust names.

/// `modelId` → `model_id`, `s3Uri` → `s3_uri`, `kmsKeyARN` → `kms_key_arn`.
pub(crate) fn snake(name: &str) -> String {
    let characters: Vec<char> = name.chars().collect();
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, character) in characters.iter().enumerate() {
        if character.is_ascii_uppercase() && index > 0 {
            let before = characters[index - 1];
            let after = characters.get(index + 1).is_some_and(char::is_ascii_lowercase);
            if (after || !before.is_ascii_uppercase()) && before != '_' {
                snake.push('_');
            }
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

/// A field's identifier: snake case, keywords made raw.
pub(crate) fn field(name: &str) -> String {
    let snake = snake(name);
    if is_keyword(&snake) { format!("r#{snake}") } else { snake }
}

/// What serde's `rename_all = "camelCase"` makes of a snake-case field.
pub(crate) fn camel_of_snake(snake: &str) -> String {
    let mut camel = String::with_capacity(snake.len());
    let mut upper = false;
    for character in snake.chars() {
        if character == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            camel.push(character.to_ascii_uppercase());
        } else {
            camel.push(character);
        }
    }
    camel
}

/// `toolUse` → `ToolUse`; also for shape names, which only differ in a rare lower-case first letter.
pub(crate) fn pascal(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

/// What serde's `rename_all = "camelCase"` makes of a variant.
pub(crate) fn camel_of_pascal(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect()
}

/// An enum value's variant: `end_turn` → `EndTurn`, `AMAZON.UserInput` → `AmazonUserInput`, `5m` → `X5m`.
pub(crate) fn variant(value: &str) -> String {
    let mut variant = String::with_capacity(value.len());
    for word in value.split(|character: char| !character.is_ascii_alphanumeric()) {
        let shouted = !word.chars().any(|character| character.is_ascii_lowercase());
        let word = if shouted { word.to_ascii_lowercase() } else { word.to_owned() };
        variant.push_str(&pascal(&word));
    }
    let starts_well = variant.starts_with(|character: char| character.is_ascii_alphabetic());
    if starts_well && variant != "Self" { variant } else { format!("X{variant}") }
}

fn is_keyword(name: &str) -> bool {
    const KEYWORDS: [&str; 39] = [
        "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
        "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
        "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static",
        "struct", "trait", "type", "use",
    ];
    KEYWORDS.contains(&name) || ["true", "try", "typeof", "unsafe", "where", "while", "yield"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_rusts() {
        for (name, expected) in [
            ("modelId", "model_id"),
            ("topP", "top_p"),
            ("s3Uri", "s3_uri"),
            ("kmsKeyARN", "kms_key_arn"),
            ("inputS3Uri", "input_s3_uri"),
            ("ARNs", "ar_ns"),
            ("type", "r#type"),
        ] {
            assert_eq!(field(name), expected);
        }
        for (value, expected) in [
            ("end_turn", "EndTurn"),
            ("AMAZON.UserInput", "AmazonUserInput"),
            ("5m", "X5m"),
            ("us-east-1", "UsEast1"),
        ] {
            assert_eq!(variant(value), expected);
        }
        assert_eq!(camel_of_snake("input_s3_uri"), "inputS3Uri");
    }
}
