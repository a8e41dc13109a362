// Paths calls functions whose arguments are reached by paths. It writes what the calls had to the
// file that its argument names.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

const layout = "2006-01-02T15:04:05.000000000Z"

var sink int

type event struct {
	id   int
	when time.Time
	end  *time.Time
}

//go:noinline
func timed(when time.Time, e *event) (next time.Time, err error) {
	sink += e.id
	return when.Add(time.Nanosecond), nil
}

type item struct {
	ID    int
	Name  string
	Tags  []string
	Err   error
	Start time.Time
	small int16
}

//go:noinline
func elements(names []string, items []item, rows *[][]uint16, text string, round int) []string {
	sink += len(names) + len(items) + len(*rows) + len(text) + round
	return names
}

type level int

//go:noinline
func (l level) next() level { return l + 1 }

type pair struct {
	left, right int32
}

// single has the shape of a pointer: an interface holds it, and not a pointer to it.
type single struct{ only *pair }

//go:noinline
func (s single) right() int32 { return s.only.right }

type box[T any] struct{ value T }

type conn struct {
	id    int
	peer  string
	inner io.Reader
}

func (c *conn) Read([]byte) (int, error) { return c.id, io.EOF }

//go:noinline
func dynamic(v any, r io.Reader, err error, round int) (any, error) {
	sink += round
	return v, err
}

func main() {
	// With a second argument, it waits for a line before the calls, and for the end after them.
	input := bufio.NewReader(os.Stdin)
	if len(os.Args) > 2 {
		_, _ = input.ReadString('\n')
	}
	facts := map[string]any{}
	now := time.Now()
	if !strings.Contains(now.String(), "m=") {
		panic("no monotonic clock")
	}
	zone := time.FixedZone("east", 3600)
	old := time.Date(1600, 3, 1, 0, 0, 0, 7, time.UTC)
	times := []time.Time{{}, now, now.Round(0), time.Date(2024, 2, 29, 0, 34, 56, 789000001, zone), time.Unix(0, 1), old}
	var printed []string
	for id, when := range times {
		_, _ = timed(when, &event{id, when, &times[len(times)-1-id]})
		printed = append(printed, when.UTC().Format(layout))
	}
	facts["Times"] = printed

	all := []string{"zero", "one", "two", "three", "past the length"}
	rows := [][]uint16{{1}, nil, {7, 8, 9}}
	for round := 0; round < 5; round++ {
		items := make([]item, round, 8)
		for n := range items {
			items[n] = item{n * 10, "item" + fmt.Sprint(n), all[:n], nil, old, int16(-n)}
		}
		if round == 4 {
			items[1].Err = errors.New("of an element")
		}
		elements(all[:round], items, &rows, "text"[:round], round)
	}
	elements(nil, nil, &rows, "", 5)

	p := &pair{-3, 4}
	// The debug information of Go 1.19 lacks types that only interfaces hold.
	sink += int(single{p}.right()) + int(level(sink).next())
	values := []any{nil, p, *p, single{p}, level(5), "text", box[int]{6}, []string{"a", "b"}, map[string]int{"k": 1}, 77}
	readers := []io.Reader{nil, &conn{1, "first", &conn{2, "second", nil}}, strings.NewReader("reader")}
	problems := []error{
		nil, &fs.PathError{Op: "open", Path: "/none", Err: fs.ErrNotExist}, errors.New("plain"),
		&fs.PathError{Op: "close", Path: "/some", Err: errors.New("inner")},
	}
	for round, v := range values {
		_, _ = dynamic(v, readers[round%len(readers)], problems[round%len(problems)], round)
	}
	written, err := json.Marshal(facts)
	if err == nil && len(os.Args) > 1 {
		err = os.WriteFile(os.Args[1], written, 0o600)
	}
	if err != nil {
		panic(err)
	}
	if len(os.Args) > 2 {
		_, _ = input.ReadString('\n')
	}
	// The tracer may still read the names of types.
	time.Sleep(300 * time.Millisecond)
}
