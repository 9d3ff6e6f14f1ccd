// Command faultproxy runs a fault proxy until it is interrupted, then prints its counts.
//
//	faultproxy -listen 127.0.0.1:1144 -upstream 127.0.0.1:1143 -rtt 50ms
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"imapped/tools/faultproxy"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	upstream := flag.String("upstream", "", "host:port to pass on to")
	rtt := flag.Duration("rtt", 0, "round-trip time to add")
	bandwidth := flag.Int64("bandwidth", 0, "bytes per second and direction; 0 does not limit")
	cut := flag.Int64("cut", 0, "reset after this many bytes from the upstream; 0 does not cut")
	corrupt := flag.Int64("corrupt", 0, "change every n-th byte from the upstream; 0 changes nothing")
	oneByte := flag.Bool("one-byte", false, "write every byte by itself")
	hole := flag.Bool("black-hole", false, "accept, and pass nothing on")
	flag.Parse()
	if *upstream == "" {
		return fmt.Errorf("faultproxy: -upstream is missing")
	}

	p, err := faultproxy.Listen(*listen, *upstream)
	if err != nil {
		return err
	}
	f := faultproxy.RoundTrip(*rtt)
	f.BlackHole = *hole
	f.Up.Bandwidth, f.Down.Bandwidth = *bandwidth, *bandwidth
	f.Up.OneByte, f.Down.OneByte = *oneByte, *oneByte
	f.Down.CutAt, f.Down.CorruptEvery = *cut, *corrupt
	if err := p.Set(f); err != nil {
		return err
	}
	fmt.Printf("%s -> %s\n", p.Addr(), *upstream)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := time.Now()
	<-ctx.Done()
	s := p.Stats()
	fmt.Printf("%d connections, %d bytes up, %d bytes down in %s\n", s.Accepted, s.Up, s.Down,
		time.Since(start).Round(time.Millisecond))
	return p.Close()
}
