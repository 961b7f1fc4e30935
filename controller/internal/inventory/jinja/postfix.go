package jinja

import "strconv"

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(e expr) (expr, error) {
	for {
		switch {
		case p.accept(tokOp, "."):
			t := p.next()
			switch t.kind {
			case tokName:
				e = &attribute{of: e, name: t.text}
			case tokInt:
				n, err := strconv.ParseInt(t.text, 10, 64)
				if err != nil {
					return nil, p.errorf("%s is no index", t)
				}
				e = &subscript{of: e, key: constant{n}}
			default:
				p.i--
				return nil, p.errorf("a name is missing behind the dot, before %s", t)
			}
		case p.accept(tokOp, "["):
			var err error
			if e, err = p.subscript(e); err != nil {
				return nil, err
			}
		case p.accept(tokOp, "("):
			var err error
			if e, err = p.call(e); err != nil {
				return nil, err
			}
		default:
			return e, nil
		}
	}
}

// subscript reads an index, a key or a slice behind [.
func (p *parser) subscript(of expr) (expr, error) {
	var parts [3]expr
	n := 0
	for {
		if p.accept(tokOp, ":") {
			if n++; n > 2 {
				return nil, p.errorf("a slice has at most two colons")
			}
			continue
		}
		if p.accept(tokOp, "]") {
			break
		}
		if parts[n] != nil {
			return nil, p.errorf("%q is missing before %s", "]", p.peek())
		}
		var err error
		if parts[n], err = p.expression(); err != nil {
			return nil, err
		}
	}
	switch {
	case n > 0:
		return &slice{of: of, bounds: parts}, nil
	case parts[0] == nil:
		return nil, p.errorf("an index is missing before %s", p.peek())
	}
	return &subscript{of: of, key: parts[0]}, nil
}

// call reads what follows ( behind what is called.
func (p *parser) call(of expr) (expr, error) {
	c := &call{of: of}
	return c, p.arguments(&c.args)
}

// arguments reads what follows ( in a call.
func (p *parser) arguments(a *arguments) error {
	for first := true; !p.accept(tokOp, ")"); first = false {
		if !first {
			if err := p.expect(tokOp, ","); err != nil {
				return err
			}
			if p.accept(tokOp, ")") {
				return nil
			}
		}
		switch {
		case p.accept(tokOp, "**"):
			e, err := p.expression()
			if err != nil {
				return err
			}
			a.dicts = append(a.dicts, e)
			continue
		case p.accept(tokOp, "*"):
			e, err := p.expression()
			if err != nil {
				return err
			}
			a.pos, a.star = append(a.pos, e), append(a.star, len(a.pos))
			continue
		case p.peek().kind == tokName && p.tokens[p.i+1].is(tokOp, "="):
			a.names = append(a.names, p.next().text)
			p.i++
			e, err := p.expression()
			if err != nil {
				return err
			}
			a.named = append(a.named, e)
			continue
		}
		e, err := p.expression()
		if err != nil {
			return err
		}
		a.pos = append(a.pos, e)
	}
	return nil
}

// dotted reads the name of a filter or test, such as ansible.builtin.ternary.
func (p *parser) dotted() (string, error) {
	t := p.next()
	switch {
	case t.kind == tokName:
	case t.kind == tokOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == ">" || t.text == "<=" || t.text == ">="):
		return t.text, nil
	default:
		p.i--
		return "", p.errorf("the name of a filter or test is missing before %s", t)
	}
	word := t.text
	for p.accept(tokOp, ".") {
		t := p.next()
		if t.kind != tokName {
			p.i--
			return "", p.errorf("a name is missing behind the dot, before %s", t)
		}
		word += "." + t.text
	}
	return bareName(word), nil
}

// filters reads | filters, is tests and calls.
func (p *parser) filters(e expr) (expr, error) {
	for {
		switch {
		case p.accept(tokOp, "|"):
			word, err := p.dotted()
			if err != nil {
				return nil, err
			}
			f := &plugged{kind: filterPlugin, of: e, name: word}
			if p.accept(tokOp, "(") {
				if err := p.arguments(&f.args); err != nil {
					return nil, err
				}
			}
			e = f
		case p.accept(tokName, "is"):
			var err error
			if e, err = p.test(e); err != nil {
				return nil, err
			}
		case p.accept(tokOp, "("):
			var err error
			if e, err = p.call(e); err != nil {
				return nil, err
			}
		default:
			return e, nil
		}
	}
}

// test reads what follows is.
func (p *parser) test(e expr) (expr, error) {
	negate := p.accept(tokName, "not")
	word, err := p.dotted()
	if err != nil {
		return nil, err
	}
	t := &plugged{kind: testPlugin, of: e, name: word}
	switch next := p.peek(); {
	case p.accept(tokOp, "("):
		err = p.arguments(&t.args)
	case next.kind == tokString || next.kind == tokInt || next.kind == tokFloat ||
		next.kind == tokName && !isKeyword(next.text) || next.is(tokOp, "[") || next.is(tokOp, "{"):
		var arg expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args.pos = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negate {
		return &not{t}, nil
	}
	return t, nil
}

func isKeyword(s string) bool {
	switch s {
	case "else", "or", "and", "if", "is", "not", "in", "recursive":
		return true
	}
	return false
}
