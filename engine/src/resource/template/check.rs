//! What templates may ask for, held against the parsed source before it is compiled: nothing that makes values grow, and nothing so deep that
//! reading it would take the stack.

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Spanned, Stmt};
use minijinja::machinery::{Span, Token, parse, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::{TemplateError, TemplateProblem};

/// Most words and signs of one tag. What stands in a tag may lie in each other.
const TAG_TOKENS_MAX: usize = 200;
/// Most `elif` of one source. Each lies in the one before.
const ELIFS_MAX: usize = 100;

const FILTERS: [&str; 9] = [
    "default", "first", "items", "join", "last", "length", "lower", "trim", "upper",
];
const TESTS: [&str; 3] = ["defined", "none", "undefined"];

type Checked = Result<(), TemplateError>;

pub(super) fn check(source: &str, syntax: SyntaxConfig) -> Checked {
    let check = Check { source };
    check.tags(&syntax)?;
    let parsed = parse(source, "", syntax).map_err(TemplateError::syntax)?;
    check.stmt(&parsed)
}

struct Check<'s> {
    source: &'s str,
}

impl Check<'_> {
    /// Looks at the size of tags. What is no tag is told when the source is parsed.
    fn tags(&self, syntax: &SyntaxConfig) -> Checked {
        let (mut tokens, mut elifs) = (0, 0);
        for (token, span) in tokenize(self.source, false, syntax.clone()).map_while(Result::ok) {
            tokens = match token {
                Token::VariableStart | Token::BlockStart => 0,
                Token::TemplateData(_) => continue,
                _ => tokens + 1,
            };
            elifs += usize::from(tokens == 1 && matches!(token, Token::Ident("elif")));
            if tokens > TAG_TOKENS_MAX {
                return self.refuse(span, format!("a tag may have {TAG_TOKENS_MAX} words and signs"));
            }
            if elifs > ELIFS_MAX {
                return self.refuse(span, format!("a template may have {ELIFS_MAX} `elif`"));
            }
        }
        Ok(())
    }

    fn stmt(&self, stmt: &Stmt<'_>) -> Checked {
        match stmt {
            Stmt::Template(template) => self.body(&template.children),
            Stmt::EmitRaw(_) => Ok(()),
            Stmt::EmitExpr(emit) => match &emit.expr {
                Expr::Call(call) => match (&call.expr, call.args.as_slice()) {
                    (Expr::Var(var), [CallArg::Pos(argument)]) if var.id == "loop" => self.expr(argument),
                    _ => self.refuse(
                        call.span(),
                        "a template has no functions but `{{ loop(..) }}`, with one list",
                    ),
                },
                expr => self.expr(expr),
            },
            Stmt::ForLoop(each) => {
                self.expr(&each.iter)?;
                each.filter_expr.iter().try_for_each(|filter| self.expr(filter))?;
                self.body(&each.body)?;
                self.body(&each.else_body)
            }
            Stmt::IfCond(cond) => {
                self.expr(&cond.expr)?;
                self.body(&cond.true_body)?;
                self.body(&cond.false_body)
            }
            Stmt::WithBlock(other) => self.no_variables(other),
            Stmt::Set(other) => self.no_variables(other),
            Stmt::SetBlock(other) => self.no_variables(other),
            Stmt::AutoEscape(other) => {
                self.refuse(other.span(), "a template escapes nothing: `autoescape` is not there")
            }
            Stmt::FilterBlock(other) => self.refuse(
                other.span(),
                "a filter stands behind a value: `filter` blocks are not there",
            ),
            Stmt::Do(other) => self.refuse(other.span(), "a template changes nothing: `do` is not there"),
        }
    }

    fn body(&self, body: &[Stmt<'_>]) -> Checked {
        body.iter().try_for_each(|stmt| self.stmt(stmt))
    }

    fn expr(&self, expr: &Expr<'_>) -> Checked {
        match expr {
            Expr::Var(_) | Expr::Const(_) => Ok(()),
            Expr::Slice(slice) => {
                let parts = [&slice.start, &slice.stop, &slice.step];
                parts.into_iter().flatten().try_for_each(|part| self.expr(part))?;
                self.expr(&slice.expr)
            }
            Expr::UnaryOp(op) => self.expr(&op.expr),
            Expr::BinOp(op) => match op.op {
                BinOpKind::Add
                | BinOpKind::Sub
                | BinOpKind::Mul
                | BinOpKind::Div
                | BinOpKind::FloorDiv
                | BinOpKind::Rem
                | BinOpKind::Pow
                | BinOpKind::Concat => self.refuse(
                    op.span(),
                    "a template computes nothing: put the result into the state, or texts beside each other",
                ),
                _ => {
                    self.expr(&op.left)?;
                    self.expr(&op.right)
                }
            },
            Expr::Compare(compare) => {
                self.expr(&compare.expr)?;
                compare.ops.iter().try_for_each(|op| self.expr(&op.expr))
            }
            Expr::IfExpr(cond) => {
                self.expr(&cond.test_expr)?;
                self.expr(&cond.true_expr)?;
                cond.false_expr.iter().try_for_each(|expr| self.expr(expr))
            }
            Expr::Filter(filter) => {
                self.known("filter", filter.name, &FILTERS, filter.span())?;
                self.args(&filter.args, filter.span())?;
                filter.expr.iter().try_for_each(|expr| self.expr(expr))
            }
            Expr::Test(test) => {
                self.known("test", test.name, &TESTS, test.span())?;
                self.args(&test.args, test.span())?;
                self.expr(&test.expr)
            }
            Expr::GetAttr(get) => self.expr(&get.expr),
            Expr::GetItem(get) => {
                self.expr(&get.expr)?;
                self.expr(&get.subscript_expr)
            }
            Expr::Call(call) => self.refuse(
                call.span(),
                "a template has no functions but `{{ loop(..) }}`, by itself in a recursive loop",
            ),
            Expr::List(list) => self.constant(list.as_const().is_some(), list.span()),
            Expr::Tuple(tuple) => self.constant(tuple.as_const().is_some(), tuple.span()),
            Expr::Map(map) => self.constant(map.as_const().is_some(), map.span()),
        }
    }

    fn args(&self, args: &[CallArg<'_>], span: Span) -> Checked {
        args.iter().try_for_each(|arg| match arg {
            CallArg::Pos(expr) | CallArg::Kwarg(_, expr) => self.expr(expr),
            CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                self.refuse(span, "arguments are written out: `*` and `**` are not there")
            }
        })
    }

    fn known(&self, what: &str, name: &str, known: &[&str], span: Span) -> Checked {
        match known.contains(&name) {
            true => Ok(()),
            false => self.refuse(
                span,
                format!("there is no {what} {name:?}; there is {}", known.join(", ")),
            ),
        }
    }

    fn constant(&self, is_constant: bool, span: Span) -> Checked {
        match is_constant {
            true => Ok(()),
            false => self.refuse(span, "a list in a template has constants only"),
        }
    }

    fn no_variables<T>(&self, stmt: &Spanned<T>) -> Checked {
        self.refuse(
            stmt.span(),
            "a template has no variables of its own: `set` and `with` are not there; put the value into the state",
        )
    }

    fn refuse(&self, span: Span, why: impl Into<String>) -> Checked {
        // The parser counts lines up to 65,535.
        let before = self.source.as_bytes().iter().take(span.start_offset as usize);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        Err(TemplateProblem::Refused(why.into()).at(line))
    }
}
