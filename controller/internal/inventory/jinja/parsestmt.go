package jinja

import (
	"fmt"
	"slices"
)

// statements reads up to the end, or to a {% word %} of ends, which it
// consumes up to and including the word.
func (p *parser) statements(ends ...string) ([]stmt, string, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, "", p.errorf("nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	var body []stmt
	for {
		t := p.next()
		switch t.kind {
		case tokEnd:
			if len(ends) > 0 {
				return nil, "", p.errorf("{%% %s %%} is missing at the end", ends[len(ends)-1])
			}
			return body, "", nil
		case tokText:
			body = append(body, textStmt(t.text))
		case tokVarOpen:
			e, err := p.tuple()
			if err == nil {
				err = p.expect(tokVarClose, "}}")
			}
			if err != nil {
				return nil, "", err
			}
			body = append(body, printStmt{e})
		default:
			word := p.next()
			if word.kind != tokName {
				p.i--
				return nil, "", p.errorf("the name of a statement is missing before %s", word)
			}
			if slices.Contains(ends, word.text) {
				return body, word.text, nil
			}
			s, err := p.statement(word.text)
			if err != nil {
				return nil, "", err
			}
			body = append(body, s)
		}
	}
}

// tuple reads expressions between commas, without brackets.
func (p *parser) tuple() (expr, error) {
	e, err := p.expression()
	if err != nil || !p.peek().is(tokOp, ",") {
		return e, err
	}
	items := []expr{e}
	for p.accept(tokOp, ",") {
		if t := p.peek().kind; t == tokVarClose || t == tokBlockClose {
			break
		}
		if e, err = p.expression(); err != nil {
			return nil, err
		}
		items = append(items, e)
	}
	return &sequence{items: items, tuple: true}, nil
}

func (p *parser) close() error { return p.expect(tokBlockClose, "%}") }

func (p *parser) statement(word string) (stmt, error) {
	switch word {
	case "if":
		return p.ifStatement()
	case "for":
		return p.forStatement()
	case "set":
		return p.setStatement()
	case "macro", "call", "filter", "include", "import", "from", "extends", "block", "with", "autoescape", "do", "break", "continue", "trans":
		return nil, &SyntaxError{Line: p.peek().line, Msg: fmt.Sprintf("{%% %s %%} is not supported", word), Unsupported: true}
	}
	return nil, p.errorf("{%% %s %%} is no statement, or stands in the wrong place", word)
}

func (p *parser) ifStatement() (stmt, error) {
	s := &ifStmt{}
	for word := "if"; word != "endif"; {
		if word != "else" {
			e, err := p.tuple()
			if err != nil {
				return nil, err
			}
			s.tests = append(s.tests, e)
		}
		if err := p.close(); err != nil {
			return nil, err
		}
		ends := []string{"elif", "else", "endif"}
		if word == "else" {
			ends = ends[2:]
		}
		body, end, err := p.statements(ends...)
		if err != nil {
			return nil, err
		}
		s.bodies = append(s.bodies, body)
		word = end
	}
	return s, p.close()
}

func (p *parser) names() ([]string, error) {
	paren := p.accept(tokOp, "(")
	var names []string
	for {
		t := p.next()
		if t.kind != tokName {
			p.i--
			return nil, p.errorf("a name is missing before %s", t)
		}
		names = append(names, t.text)
		if !p.accept(tokOp, ",") {
			break
		}
	}
	if paren {
		return names, p.expect(tokOp, ")")
	}
	return names, nil
}

func (p *parser) forStatement() (stmt, error) {
	s := &forStmt{}
	var err error
	if s.names, err = p.names(); err != nil {
		return nil, err
	}
	if err = p.expect(tokName, "in"); err != nil {
		return nil, err
	}
	if s.over, err = p.or(); err != nil { // an if here filters
		return nil, err
	}
	if p.peek().is(tokOp, ",") {
		return nil, p.errorf("put the tuple to loop over in parentheses")
	}
	if p.accept(tokName, "if") {
		if s.filter, err = p.expression(); err != nil {
			return nil, err
		}
	}
	if p.peek().is(tokName, "recursive") {
		return nil, &SyntaxError{Line: p.peek().line, Msg: "a recursive {% for %} is not supported", Unsupported: true}
	}
	if err = p.close(); err != nil {
		return nil, err
	}
	var end string
	if s.body, end, err = p.statements("else", "endfor"); err != nil {
		return nil, err
	}
	if end == "else" {
		if err = p.close(); err != nil {
			return nil, err
		}
		if s.other, _, err = p.statements("endfor"); err != nil {
			return nil, err
		}
	}
	return s, p.close()
}

func (p *parser) setStatement() (stmt, error) {
	s := &setStmt{}
	var err error
	if s.names, err = p.names(); err != nil {
		return nil, err
	}
	if len(s.names) == 1 && p.accept(tokOp, ".") {
		t := p.next()
		if t.kind != tokName {
			p.i--
			return nil, p.errorf("a name is missing behind the dot, before %s", t)
		}
		s.attr = t.text
	}
	if p.accept(tokOp, "=") {
		if s.e, err = p.tuple(); err != nil {
			return nil, err
		}
		return s, p.close()
	}
	if err = p.close(); err != nil {
		return nil, err
	}
	if s.body, _, err = p.statements("endset"); err != nil {
		return nil, err
	}
	return s, p.close()
}
