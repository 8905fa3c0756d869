# The server as a container: docker build -t step3vl . ; then as in compose.yaml. With --build-arg EXTRA=client it is the gateway
# alone, without torch.
FROM python:3.11-slim
ARG EXTRA=inference

RUN useradd --create-home --uid 1000 step3vl
WORKDIR /app
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY data data
COPY pipelines pipelines
COPY inference inference
COPY training training
COPY workflows workflows
RUN pip install --no-cache-dir --constraint requirements.lock ".[$EXTRA]"

USER step3vl
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# SIGTERM, which `docker stop` sends, starts the drain.
ENTRYPOINT ["step3vl", "serve", "--host", "0.0.0.0"]
CMD ["/model"]
