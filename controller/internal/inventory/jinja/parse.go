package jinja

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Parse reads a template. The error is a *SyntaxError.
func Parse(text string) (*Template, error) {
	body := strings.TrimRight(text, "\n")
	tokens, err := lex(body)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	t := &Template{trailing: len(text) - len(body)}
	if t.body, _, err = p.statements(); err != nil {
		return nil, err
	}
	return t, nil
}

type parser struct {
	tokens []token
	i      int
	depth  int
}

func (p *parser) peek() token { return p.tokens[p.i] }

func (p *parser) next() token {
	t := p.tokens[p.i]
	if t.kind != tokEnd {
		p.i++
	}
	return t
}

// accept consumes an operator or name if it is next.
func (p *parser) accept(kind tokenKind, text string) bool {
	if p.peek().is(kind, text) {
		p.i++
		return true
	}
	return false
}

func (p *parser) expect(kind tokenKind, text string) error {
	if !p.accept(kind, text) {
		return p.errorf("%q is missing before %s", text, p.peek())
	}
	return nil
}

func (p *parser) errorf(format string, args ...any) error {
	return &SyntaxError{Line: p.peek().line, Msg: fmt.Sprintf(format, args...)}
}

// expression reads a condition, or what is below one.
func (p *parser) expression() (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	e, err := p.or()
	for err == nil && p.accept(tokName, "if") {
		c := &condition{yes: e}
		if c.test, err = p.or(); err != nil {
			return nil, err
		}
		if p.accept(tokName, "else") {
			if c.no, err = p.expression(); err != nil {
				return nil, err
			}
		}
		e = c
	}
	return e, err
}

func (p *parser) or() (expr, error)  { return p.logic("or", p.and) }
func (p *parser) and() (expr, error) { return p.logic("and", p.not) }

func (p *parser) logic(word string, operand func() (expr, error)) (expr, error) {
	e, err := operand()
	for err == nil && p.accept(tokName, word) {
		var right expr
		if right, err = operand(); err == nil {
			e = &logic{or: word == "or", left: e, right: right}
		}
	}
	return e, err
}

func (p *parser) not() (expr, error) {
	if !p.accept(tokName, "not") {
		return p.compare()
	}
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	e, err := p.not()
	return &not{e}, err
}

// comparison is an operator of a comparison that is next, or "".
func (p *parser) comparison() string {
	t := p.peek()
	switch {
	case t.kind == tokOp:
		switch t.text {
		case "==", "!=", "<", "<=", ">", ">=":
			p.i++
			return t.text
		}
	case p.accept(tokName, "in"):
		return "in"
	case t.is(tokName, "not") && p.tokens[p.i+1].is(tokName, "in"):
		p.i += 2
		return "not in"
	}
	return ""
}

func (p *parser) compare() (expr, error) {
	e, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &comparison{first: e}
	for op := p.comparison(); op != ""; op = p.comparison() {
		right, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, right)
	}
	if c.ops == nil {
		return e, nil
	}
	return c, nil
}

// binary reads a chain of operators of one precedence, from left to right.
func (p *parser) binary(operand func() (expr, error), ops ...string) (expr, error) {
	e, err := operand()
next:
	for err == nil {
		for _, op := range ops {
			if p.accept(tokOp, op) {
				var right expr
				right, err = operand()
				e = &arithmetic{op: op, left: e, right: right}
				continue next
			}
		}
		return e, nil
	}
	return nil, err
}

func (p *parser) sum() (expr, error)     { return p.binary(p.concat, "+", "-") }
func (p *parser) product() (expr, error) { return p.binary(p.power, "*", "//", "/", "%") }
func (p *parser) power() (expr, error) {
	return p.binary(func() (expr, error) { return p.unary(true) }, "**")
}

func (p *parser) concat() (expr, error) {
	e, err := p.product()
	if err != nil || !p.peek().is(tokOp, "~") {
		return e, err
	}
	c := &concatenation{parts: []expr{e}}
	for p.accept(tokOp, "~") {
		e, err := p.product()
		if err != nil {
			return nil, err
		}
		c.parts = append(c.parts, e)
	}
	return c, nil
}

func (p *parser) unary(filters bool) (expr, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	var e expr
	var err error
	switch t := p.peek(); {
	case t.is(tokOp, "-"), t.is(tokOp, "+"):
		p.i++
		e, err = p.unary(false)
		e = &sign{minus: t.text == "-", operand: e}
	default:
		e, err = p.primary()
	}
	if err == nil {
		e, err = p.postfix(e)
	}
	if err == nil && filters {
		e, err = p.filters(e)
	}
	return e, err
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch t.kind {
	case tokName:
		switch t.text {
		case "true", "True":
			return constant{true}, nil
		case "false", "False":
			return constant{false}, nil
		case "none", "None":
			return constant{nil}, nil
		case "and", "or", "not", "if", "else", "in", "is":
			p.i--
			return nil, p.errorf("a value is missing before %q", t.text)
		}
		return &name{t.text}, nil
	case tokString:
		s := t.text
		for p.peek().kind == tokString {
			s += p.next().text
		}
		return constant{s}, nil
	case tokInt:
		n, ok := new(big.Int).SetString(strings.ReplaceAll(t.text, "_", ""), intBase(t.text))
		if !ok || len(t.text) > 1000 {
			return nil, p.errorf("%s is no number", t)
		}
		return constant{small(n)}, nil
	case tokFloat:
		f, _ := strconv.ParseFloat(strings.ReplaceAll(t.text, "_", ""), 64)
		return constant{f}, nil
	case tokOp:
		switch t.text {
		case "(":
			return p.parenthesis()
		case "[":
			return p.list()
		case "{":
			return p.dict()
		}
	}
	p.i--
	if t.kind == tokEnd {
		p.i = len(p.tokens) - 1
	}
	return nil, p.errorf("a value is missing before %s", t)
}

func intBase(s string) int {
	if len(s) > 2 && s[0] == '0' && s[1] > '9' {
		return 0
	}
	return 10
}

// parenthesis reads what follows (: a value, or a tuple.
func (p *parser) parenthesis() (expr, error) {
	items, comma, err := p.items(")")
	if err != nil {
		return nil, err
	}
	if len(items) == 1 && !comma {
		return items[0], nil
	}
	return &sequence{items: items, tuple: true}, nil
}

func (p *parser) list() (expr, error) {
	items, _, err := p.items("]")
	return &sequence{items: items}, err
}

// items reads expressions between commas up to end.
func (p *parser) items(end string) (items []expr, comma bool, err error) {
	for !p.accept(tokOp, end) {
		if len(items) > 0 && !comma {
			return nil, false, p.errorf("a comma or %q is missing before %s", end, p.peek())
		}
		e, err := p.expression()
		if err != nil {
			return nil, false, err
		}
		items = append(items, e)
		comma = p.accept(tokOp, ",")
	}
	return items, comma, nil
}

func (p *parser) dict() (expr, error) {
	d := &dictionary{}
	for !p.accept(tokOp, "}") {
		if len(d.keys) > 0 {
			if err := p.expect(tokOp, ","); err != nil {
				return nil, err
			}
			if p.accept(tokOp, "}") {
				break
			}
		}
		k, err := p.expression()
		if err == nil {
			err = p.expect(tokOp, ":")
		}
		if err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	}
	return d, nil
}
