package harness

import (
	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
)

// hostNetwork puts a container into the network of the host.
var hostNetwork = testcontainers.WithHostConfigModifier(func(h *container.HostConfig) { h.NetworkMode = "host" })
