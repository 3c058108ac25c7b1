//! How deep a SQL text can nest, told from its tokens alone.
//!
//! The parser limits its own recursion, but it builds chains (`1+1+1+…`, `a OR b …`) in loops, as trees
//! as deep as the chain is long. Walking or dropping such a tree takes stack: a long chain has to be
//! refused before it is parsed.

use crate::limits::{POLICY_SQL_CHAIN_MAX, POLICY_SQL_DEPTH_MAX};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

/// Whether the tokens can only make a tree of bounded depth.
///
/// Counted are operators and keywords since the last comma or semicolon, for every open bracket.
pub(super) fn is_shallow(tokens: &[Token]) -> bool {
    let mut open: Vec<usize> = Vec::new();
    let (mut links, mut outer_links) = (0, 0);
    for token in tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => {
                open.push(links);
                outer_links += links;
                links = 0;
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                // Brackets follow each other as a chain too: `a[1][1]…`, `f()()…`.
                links = open.pop().unwrap_or_default();
                outer_links -= links;
                links += 1;
            }
            Token::Comma | Token::SemiColon => links = 0,
            Token::Whitespace(_) | Token::Number(..) | Token::Period | Token::EOF => {}
            Token::Word(word) => links += weight(word.keyword),
            _ => links += 1,
        }
        if open.len() > POLICY_SQL_DEPTH_MAX || outer_links + links > POLICY_SQL_CHAIN_MAX {
            return false;
        }
    }
    true
}

/// What a word adds. Clauses such as JOIN are parsed by deep recursions, operators in loops.
fn weight(keyword: Keyword) -> usize {
    match keyword {
        Keyword::NoKeyword => 0,
        Keyword::AND | Keyword::OR | Keyword::IN | Keyword::LIKE | Keyword::BETWEEN | Keyword::NULL => 1,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlparser::dialect::GenericDialect;
    use sqlparser::tokenizer::Tokenizer;

    #[test]
    fn chains_and_brackets_are_bounded_and_lists_are_not() {
        let check = |sql: String, shallow| {
            let tokens = Tokenizer::new(&GenericDialect, &sql).tokenize().unwrap();
            assert_eq!(is_shallow(&tokens), shallow, "{}", &sql[..sql.len().min(60)]);
        };
        check("SELECT 1".to_owned(), true);
        check(format!("INSERT INTO t VALUES {}(1, -2)", "(1, -2), ".repeat(5_000)), true);
        check(format!("SELECT {}1", "1+".repeat(100)), true);
        check(format!("SELECT {}1", "1+".repeat(5_000)), false);
        check(format!("SELECT {}1", "(1+1)+".repeat(5_000)), false);
        check(format!("SELECT a{}", "[1]".repeat(5_000)), false);
        check(format!("SELECT {}", "(".repeat(100)), false);
        check(format!("SELECT {}", "(1,2),".repeat(5_000)), true);
        check(format!("SELECT {}1", "(1+1+1+1+1+1+1+1+1+1+1+1,".repeat(60)), true);
        check(format!("SELECT {}1", "(1+1+1+1+1+1+1+1+1+1+1+1+".repeat(60)), false);
    }
}
